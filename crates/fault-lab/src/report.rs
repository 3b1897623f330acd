//! Tables for `docs/reliability.md`.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, bail};

use crate::{
    matrix::{Result, recovery},
    stage::Outcome,
};

/// The matrix as Markdown, a table for each section.
pub(crate) fn matrix(sections: &[(&str, Vec<Result>)]) -> String {
    let mut text = String::new();
    for (name, results) in sections {
        let _ = write!(
            text,
            "### {name}\n\n\
             | fault | demanded | answers | worst | refused in, later | recovered after | violations |\n\
             |---|---|---|---|---|---|---|\n"
        );
        for result in results {
            text.push_str(&row(result));
        }
        text.push('\n');
    }
    text
}

fn row(result: &Result) -> String {
    let Outcome {
        tally,
        recovered_after,
        remark,
        ..
    } = &result.outcome;
    let remark = match remark.as_str() {
        "" => String::new(),
        remark => format!(" ({})", remark.trim_start_matches("; ")),
    };
    format!(
        "| {}{remark} | {} | {} | {} ms | {} | {} | {} |\n",
        result.fault,
        result.demanded,
        tally.answers_in_words(),
        tally.slowest.as_millis(),
        match tally.slowest_refusal.as_millis() {
            0 if tally.slowest_refusal.is_zero() => "-".to_owned(),
            milliseconds => format!("{milliseconds} ms"),
        },
        recovery(*recovered_after),
        match result.outcome.impossible {
            Some(why) => format!("not shown: {why}"),
            None => tally.violations_in_words(),
        },
    )
}

/// Puts `text` between the lines `<!-- name: begin -->` and `<!-- name: end -->` of a file.
pub(crate) fn put(file: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let page =
        fs::read_to_string(file).with_context(|| format!("{} is not there", file.display()))?;
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let (Some((before, _)), Some((_, after))) = (page.split_once(&begin), page.split_once(&end))
    else {
        bail!(
            "{} has no place for {name}: it needs the lines {begin}{end}",
            file.display()
        );
    };
    let page = format!("{before}{begin}\n{}\n\n{end}{after}", text.trim());
    fs::write(file, page).with_context(|| format!("{} cannot be written", file.display()))
}
