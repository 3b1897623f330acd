//! The tables of `docs/metrics.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

/// What is known of a metric, its name apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) kind: String,
    pub(crate) labels: BTreeSet<String>,
}

/// Those of the service, by name.
pub(crate) fn of_the_service() -> BTreeMap<String, Metric> {
    let metrics = table("metrics").into_iter().map(|cells| {
        let labels = cells[2].split(", ").filter(|label| !label.is_empty());
        let metric = Metric {
            kind: cells[1].clone(),
            labels: labels.map(unquoted).collect(),
        };
        (unquoted(&cells[0]), metric)
    });
    let metrics: BTreeMap<_, _> = metrics.collect();
    assert!(metrics.len() > 20, "the table was read");
    metrics
}

/// Names of those that others have.
pub(crate) fn of_others() -> BTreeSet<String> {
    let rows = table("metrics of others").into_iter();
    rows.map(|cells| unquoted(&cells[0])).collect()
}

fn unquoted(cell: &str) -> String {
    let name = cell
        .strip_prefix('`')
        .and_then(|name| name.strip_suffix('`'));
    name.unwrap_or_else(|| panic!("{cell} is no name"))
        .to_owned()
}

/// Cells of each row between the comments that name the table.
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
    // Behind the head and the line under it.
    rows.skip(2).collect()
}
