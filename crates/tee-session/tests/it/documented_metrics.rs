//! Reads the tables of metrics in `docs/metrics.md`, and writes the table of the metrics of the
//! service.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

/// Markdown row between the header row and the first metric in the table of the metrics of the
/// service.
const SEPARATOR: &str = "|---|---|---|---|\n";

/// Kind (such as `counter`), label names and description of a metric.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) kind: String,
    pub(crate) labels: BTreeSet<String>,
    pub(crate) help: String,
}

/// Returns the metrics of the service that `docs/metrics.md` documents, by name.
pub(crate) fn of_the_service() -> BTreeMap<String, Metric> {
    let metrics = table("metrics").into_iter().map(|cells| {
        let labels = cells[2].split(", ").filter(|label| !label.is_empty());
        let metric = Metric {
            kind: cells[1].clone(),
            labels: labels.map(unquoted).collect(),
            help: cells[3].clone(),
        };
        (unquoted(&cells[0]), metric)
    });
    let metrics: BTreeMap<_, _> = metrics.collect();
    assert!(metrics.len() > 20, "the table was read");
    metrics
}

/// Replaces the table of the metrics of the service in `docs/metrics.md` by a table of `metrics`.
pub(crate) fn write(metrics: &BTreeMap<String, Metric>) {
    let rows = metrics.iter().map(|(name, metric)| {
        let labels = metric.labels.iter().map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        format!(
            "| `{name}` | {} | {labels} | {} |\n",
            metric.kind, metric.help
        )
    });
    let page = fs::read_to_string(PAGE).unwrap();
    let (start, rest) = page.split_once(SEPARATOR).unwrap();
    let (_, end) = rest.split_once("\n\n").unwrap();
    let rows: String = rows.collect();
    fs::write(PAGE, format!("{start}{SEPARATOR}{rows}\n{end}")).unwrap();
}

/// Returns the names of the metrics in `docs/metrics.md` that other programs serve.
pub(crate) fn of_others() -> BTreeSet<String> {
    let rows = table("metrics of others").into_iter();
    rows.map(|cells| unquoted(&cells[0])).collect()
}

fn unquoted(cell: &str) -> String {
    let name = cell
        .strip_prefix('`')
        .and_then(|name| name.strip_suffix('`'));
    name.unwrap_or_else(|| panic!("{cell} is not a name in backticks"))
        .to_owned()
}

/// Returns the cells of each row of the table `name`. The table is enclosed by the comments
/// `<!-- name: begin -->` and `<!-- name: end -->`.
fn table(name: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(PAGE).unwrap();
    let (_, rest) = page
        .split_once(&format!("<!-- {name}: begin -->\n"))
        .unwrap();
    let (table, _) = rest.split_once(&format!("<!-- {name}: end -->")).unwrap();
    let rows = table.lines().filter_map(|line| {
        let row = line.strip_prefix('|')?.strip_suffix('|')?;
        Some(row.split('|').map(|cell| cell.trim().to_owned()).collect())
    });
    // The first two lines are the header row and the separator row.
    rows.skip(2).collect()
}
