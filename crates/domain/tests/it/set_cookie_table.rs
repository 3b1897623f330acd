//! Compares the merge of `Set-Cookie` lines with the results that `set_cookie_table.toml` lists for
//! RFC 6265bis.

use serde::Deserialize;
use tee_session_domain::{
    BaseUrl, CookieAttributes, CookieUrl, Cookies, SetCookieLines, parse_cookie_date,
    time::{Duration, OffsetDateTime},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    lines: Vec<Row>,
    dates: Vec<DateRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    case: String,
    #[serde(default = "usual_url")]
    url: String,
    before_url: Option<String>,
    #[serde(default)]
    before: Vec<String>,
    line: String,
    draft: Vec<String>,
    ours: Option<Vec<String>>,
    chromium: Option<Vec<String>>,
    why: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DateRow {
    date: String,
    draft: bool,
    chromium: Option<bool>,
    why: Option<String>,
}

fn usual_url() -> String {
    "https://www.golf.example/".to_owned()
}

fn table() -> Table {
    toml::from_str(include_str!("set_cookie_table.toml")).unwrap()
}

/// Replaces each repetition in `text`, such as `{x*9}`, by the repeated text (`x` nine times).
fn expand(text: &str) -> String {
    let expanded = || {
        let (before, rest) = text.split_once('{')?;
        let (inside, after) = rest.split_once('}')?;
        let (unit, count) = inside.split_once('*')?;
        let repeated = unit.repeat(count.parse().ok()?);
        Some(format!("{before}{repeated}{after}"))
    };
    expanded().unwrap_or_else(|| text.to_owned())
}

fn sorted(cookies: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let cookies = cookies.into_iter().map(|cookie| expand(cookie.as_ref()));
    let mut cookies: Vec<_> = cookies.collect();
    cookies.sort();
    cookies
}

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

/// Returns the cookies of a session into which the lines of `row` were merged.
fn stored_by_us(row: &Row) -> Vec<String> {
    let before_url = row.before_url.as_ref().unwrap_or(&row.url);
    let line = [row.line.clone()];
    let mut session = Cookies::default();
    for (url, lines) in [(before_url, &row.before[..]), (&row.url, &line[..])] {
        let lines = lines.iter().map(|line| expand(line));
        let update = SetCookieLines::new(CookieUrl::parse(url).unwrap(), lines);
        let base_url = BaseUrl::from_stored(url.as_str()).unwrap();
        let merged = session.merged(&update, &base_url, now());
        session = merged.cookies.unwrap_or(session);
    }
    let flat = session.with_attributes();
    let flat =
        flat.map(|(name, value, attributes)| as_line(name, value.unwrap(), attributes.unwrap()));
    let others = session.others().iter();
    let others = others.map(|other| as_line(&other.name, &other.value, &other.attributes));
    sorted(flat.chain(others))
}

fn as_line(name: &str, value: &str, attributes: &CookieAttributes) -> String {
    let mut line = format!("{name}={value}");
    if !attributes.host_only {
        line += &format!("; Domain={}", attributes.domain);
    }
    if attributes.path != "/" {
        line += &format!("; Path={}", attributes.path);
    }
    if attributes.secure {
        line += "; Secure";
    }
    if let Some(expires) = attributes.expires {
        line += &format!("; Max-Age={}", (expires - now()).whole_seconds());
    }
    line
}

#[test]
fn merged_set_cookie_lines_result_in_the_cookies_that_the_table_lists() {
    let differences = table().lines.into_iter().filter_map(|row| {
        let (expected, stored) = (
            sorted(row.ours.as_ref().unwrap_or(&row.draft)),
            stored_by_us(&row),
        );
        (stored != expected).then(|| format!("{}: {stored:?}, not {expected:?}", row.case))
    });
    assert_eq!(differences.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn cookie_dates_are_accepted_or_rejected_as_the_table_lists() {
    let parsed = |row: &DateRow| parse_cookie_date(&row.date).is_some();
    let rows = table().dates.into_iter();
    let differences = rows.filter(|row| parsed(row) != row.draft);
    assert_eq!(differences.map(|row| row.date).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn table_has_80_lines_and_12_dates_and_gives_a_reason_for_each_deviation() {
    let table = table();
    assert_eq!(table.lines.len(), 80);
    assert_eq!(table.dates.len(), 12);
    for row in &table.lines {
        let deviations = [&row.ours, &row.chromium].map(Option::as_ref);
        let deviates = deviations.iter().flatten().count() > 0;
        assert_eq!(deviates, row.why.is_some(), "{}", row.case);
        let differs = |other: &&Vec<String>| sorted(*other) != sorted(&row.draft);
        assert!(deviations.iter().flatten().all(differs), "{}", row.case);
    }
    for row in &table.dates {
        assert_eq!(row.chromium.is_some(), row.why.is_some(), "{}", row.date);
        assert_ne!(row.chromium, Some(row.draft), "{}", row.date);
    }
}

#[test]
fn repetition_notation_in_the_set_cookie_table_is_replaced_by_the_repeated_text() {
    assert_eq!(expand("a={x*3}; y"), "a=xxx; y");
    assert_eq!(expand(r#"a={"b"}"#), r#"a={"b"}"#);
}
