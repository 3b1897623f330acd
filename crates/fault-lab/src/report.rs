//! Formats the results of the fault lab as Markdown tables for `docs/reliability.md`.

use std::{fmt::Write, fs, path::Path, process::Command};

use anyhow::{Context, bail, ensure};
use time::{Date, OffsetDateTime};

use crate::{
    matrix::{Result, Results, recovery},
    stage::Outcome,
};

/// Formats the results of all fault scenarios as Markdown, with one table for each section.
pub(crate) fn matrix(sections: &Results<'_>) -> String {
    let mut text = String::new();
    for (name, results) in sections {
        let _ = write!(
            text,
            "### {name}\n\n\
             | fault | expected | responses | slowest response | slowest later 503 | recovered after | violations |\n\
             |---|---|---|---|---|---|---|\n"
        );
        for result in results {
            text.push_str(&row(result));
        }
        text.push('\n');
    }
    text
}

fn row(result: &Result<'_>) -> String {
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
        result.row.fault,
        result.row.expected,
        tally.responses_text(),
        tally.slowest.as_millis(),
        match tally.slowest_late_503.as_millis() {
            0 if tally.slowest_late_503.is_zero() => "-".to_owned(),
            milliseconds => format!("{milliseconds} ms"),
        },
        recovery(*recovered_after),
        match result.outcome.impossible {
            Some(reason) => format!("not run: {reason}"),
            None => tally.violations_text(),
        },
    )
}

/// Replaces the text between the lines `<!-- name: begin -->` and `<!-- name: end -->` of the file
/// `file` by the current date, the commit and `text`. Fails if one of the two lines is missing.
pub(crate) fn put(file: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let page =
        fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let (Some((before, _)), Some((_, after))) = (page.split_once(&begin), page.split_once(&end))
    else {
        bail!(
            "{} lacks the lines {begin}{end} around the table {name}",
            file.display()
        );
    };
    let (date, commit) = (today(), commit()?);
    let measured = format!("Measured on {date} with commit {commit}.");
    let page = format!(
        "{before}{begin}\n{measured}\n\n{}\n\n{end}{after}",
        text.trim()
    );
    fs::write(file, page).with_context(|| format!("{} cannot be written", file.display()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the date is only printed, and no session depends on it"
)]
fn today() -> Date {
    OffsetDateTime::now_utc().date()
}

/// Returns the abbreviated commit of the working tree, with `-dirty` if tracked files have changed.
fn commit() -> anyhow::Result<String> {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--exclude=*"]);
    let output = git.output().context("git does not start")?;
    ensure!(output.status.success(), "git does not name the commit");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
