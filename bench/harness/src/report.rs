//! Writes the performance page, which consists of generated tables and hand-written text.

mod gateway_tables;
mod tables;

use std::{fs, path::Path};

use anyhow::{Context, bail};

use crate::{charts, results::Results};

/// File name of the performance page.
const PAGE: &str = "README.md";

/// Path of the performance page in the repository. A report in another folder starts as a copy of
/// that page, because the page contains hand-written text.
const TEMPLATE: &str = "docs/performance/README.md";

/// Updates the tables of the performance page in `folder`, and draws the charts in `folder`.
pub(crate) fn write(results: &Results, folder: &Path) -> anyhow::Result<()> {
    let page = folder.join(PAGE);
    let from = if page.exists() {
        &page
    } else {
        Path::new(TEMPLATE)
    };
    let text = fs::read_to_string(from);
    let mut text = text.with_context(|| format!("{} cannot be read", from.display()))?;
    let mut parts = Vec::new();
    if let Some(side_by_side) = &results.side_by_side {
        parts.push(("machine", tables::machine(side_by_side)));
        parts.push(("side by side", tables::side_by_side(side_by_side)));
    }
    if let Some(scale) = &results.scale {
        parts.push(("scale", tables::scale(scale)));
    }
    if let Some(gateways) = &results.gateways {
        parts.push(("gateways", gateway_tables::gateways(gateways)));
    }
    if results.side_by_side.is_some() && results.scale.is_some() {
        parts.push(("targets", tables::targets(results)));
    }
    // If a part of the benchmark has no results, its tables on the page are not changed.
    for (name, part) in parts {
        text = put(&text, name, &part)?;
    }
    charts::draw(results, folder)?;
    fs::write(&page, text).with_context(|| format!("{} cannot be written", page.display()))
}

/// Returns `page` with new text between the lines `<!-- name: begin -->` and `<!-- name: end -->`.
/// `part` is the new text. Fails if one of the two lines is missing.
fn put(page: &str, name: &str, part: &str) -> anyhow::Result<String> {
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let (Some((before, _)), Some((_, after))) = (page.split_once(&begin), page.split_once(&end))
    else {
        bail!("the page lacks the lines {begin}{end} around the table {name}");
    };
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", part.trim()))
}
