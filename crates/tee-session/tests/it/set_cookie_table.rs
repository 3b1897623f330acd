//! Test that Chromium stores the cookies that `set_cookie_table.toml` lists for Chromium. Each row
//! of this table contains a `Set-Cookie` line, and the cookies that are stored after it. The table
//! belongs to the tests of the domain crate, which compare it with the cookies of a session.

use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};
use tee_session_test_support::TestAuthority;

use crate::{chromium, python_packages};

const TABLE: &str = include_str!("../../../domain/tests/it/set_cookie_table.toml");

#[derive(Deserialize)]
struct Table {
    lines: Vec<Row>,
    dates: Vec<DateRow>,
}

#[derive(Deserialize)]
struct Row {
    case: String,
    url: Option<String>,
    before_url: Option<String>,
    #[serde(default)]
    before: Vec<String>,
    line: String,
    draft: Vec<String>,
    chromium: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct DateRow {
    date: String,
    draft: bool,
    chromium: Option<bool>,
}

impl DateRow {
    /// Returns a row for the date. The `Set-Cookie` line of the row contains the date as its expiry
    /// time. The date is in the past, so a client that can parse it removes the cookie. Other
    /// clients store the cookie.
    fn into_row(self) -> Row {
        let line = format!("a=1; Expires={}", self.date);
        let is_date = self.chromium.unwrap_or(self.draft);
        Row {
            case: self.date,
            url: None,
            before_url: None,
            before: vec!["a=0".to_owned()],
            line,
            draft: if is_date {
                vec![]
            } else {
                vec!["a=1".to_owned()]
            },
            chromium: None,
        }
    }
}

impl Row {
    /// Returns the requests that Chromium sends for the row, each with the `Set-Cookie` lines of
    /// its answer.
    fn steps(&self) -> Value {
        let url = self.url.as_deref().unwrap_or("https://www.golf.example/");
        let before_url = self.before_url.as_deref().unwrap_or(url);
        let line = [self.line.clone()];
        let steps = [(before_url, &self.before[..]), (url, &line)];
        let steps = steps.iter().filter(|(_, lines)| !lines.is_empty());
        steps
            .map(|(url, lines)| json!({"url": url, "set_cookie": expanded(lines)}))
            .collect()
    }

    fn expected(&self) -> Vec<String> {
        expanded(self.chromium.as_ref().unwrap_or(&self.draft))
    }
}

/// Replaces `{x*9}` in each of `texts` by nine `x`.
fn expanded(texts: &[impl AsRef<str>]) -> Vec<String> {
    let expand = |text: &str| {
        let (before, rest) = text.split_once('{')?;
        let (inside, after) = rest.split_once('}')?;
        let (unit, count) = inside.split_once('*')?;
        let repeated = unit.repeat(count.parse().ok()?);
        Some(format!("{before}{repeated}{after}"))
    };
    let texts = texts.iter().map(AsRef::as_ref);
    texts
        .map(|text| expand(text).unwrap_or_else(|| text.to_owned()))
        .collect()
}

#[tokio::test]
async fn chromium_handles_set_cookie_lines_as_the_table_lists() {
    let table: Table = toml::from_str(TABLE).unwrap();
    let dates = table.dates.into_iter().map(DateRow::into_row);
    let rows: Vec<Row> = table.lines.into_iter().chain(dates).collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rows.json");
    let steps: Vec<_> = rows.iter().map(Row::steps).collect();
    fs::write(&file, json!(steps).to_string()).unwrap();

    let authority = TestAuthority::new();
    let certificate = authority.issue("site");
    let mut browser = python_packages::script("set_cookie_table.py");
    browser.arg(chromium::path());
    browser.args([
        certificate.certificate_file,
        certificate.private_key_file,
        file,
    ]);
    let stored = python_packages::output_of(&mut browser).await;
    let stored: Vec<Vec<String>> = serde_json::from_str(&stored).unwrap();

    assert_eq!(stored.len(), rows.len());
    let differences = rows.iter().zip(stored).filter_map(|(row, mut stored)| {
        let mut expected = row.expected();
        expected.sort();
        stored.sort();
        (stored != expected).then(|| format!("{}: {stored:?}, not {expected:?}", row.case))
    });
    assert_eq!(differences.collect::<Vec<_>>(), [""; 0]);
}
