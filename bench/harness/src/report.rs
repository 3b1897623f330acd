//! The page: what was measured, put between the words that people wrote.

mod tables;

use std::{fs, path::Path};

use anyhow::{Context, bail};

use crate::{charts, results::Results};

const PAGE: &str = "README.md";

/// The page with the words; a report in another folder begins with a copy of it.
const WORDS: &str = "docs/performance/README.md";

/// Writes the page and the charts into `folder`.
pub(crate) fn write(results: &Results, folder: &Path) -> anyhow::Result<()> {
    let page = folder.join(PAGE);
    let from = if page.exists() {
        &page
    } else {
        Path::new(WORDS)
    };
    let text = fs::read_to_string(from);
    let mut text = text.with_context(|| format!("{} is not there", from.display()))?;
    let side_by_side = results.side_by_side.as_ref();
    let scale = results.scale.as_ref();
    for (name, part) in [
        ("targets", tables::targets(results)),
        (
            "machine",
            side_by_side.map_or_else(not_measured, tables::machine),
        ),
        (
            "side by side",
            side_by_side.map_or_else(not_measured, tables::side_by_side),
        ),
        ("scale", scale.map_or_else(not_measured, tables::scale)),
    ] {
        text = put(&text, name, &part)?;
    }
    charts::draw(results, folder)?;
    fs::write(&page, text).with_context(|| format!("{} cannot be written", page.display()))
}

fn not_measured() -> String {
    "Not measured yet.".to_owned()
}

/// Puts `part` between the lines `<!-- name: begin -->` and `<!-- name: end -->`.
fn put(page: &str, name: &str, part: &str) -> anyhow::Result<String> {
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let (Some((before, _)), Some((_, after))) = (page.split_once(&begin), page.split_once(&end))
    else {
        bail!("the page has no place for {name}: it needs the lines {begin}{end}");
    };
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", part.trim()))
}
