//! Tests of the limits for all cookies of a session together.

use rstest::rstest;
use time::Duration;

use super::{
    Cookies, IgnoreReason,
    merge_tests::{LOGIN_URL, NOW, base_url, set_cookie},
};

/// Four cookies of 8191 bytes leave 4 bytes of the 32 KiB for names and values.
#[rstest]
#[case::four_bytes("e=123", None)]
#[case::five_bytes("e=1234", Some(IgnoreReason::Full))]
#[case::other_value_of_the_same_length(&format!("a={}", "w".repeat(8_190)), None)]
fn names_and_values_of_a_session_have_at_most_32_kib_in_total(
    #[case] line: &str,
    #[case] expected: Option<IgnoreReason>,
) {
    let stored = ["a", "b", "c", "d"].map(|name| format!("{name}={}", "v".repeat(8_190)));
    assert_eq!(reason(&stored, line), expected);
}

/// Each cookie has the domain `www.golf.example` of 16 bytes. 15 cookies with a path of 1024 bytes
/// leave 784 bytes of the 16 KiB for domains and paths.
#[rstest]
#[case::path_of_768_bytes(768, None)]
#[case::path_of_769_bytes(769, Some(IgnoreReason::Full))]
fn domains_and_paths_of_a_session_have_at_most_16_kib_in_total(
    #[case] path_len: usize,
    #[case] expected: Option<IgnoreReason>,
) {
    let line = |n: usize, path_len: usize| format!("c{n}=1; Path=/{}", "p".repeat(path_len - 1));
    let stored: Vec<_> = (0..15).map(|n| line(n, 1_024)).collect();
    assert_eq!(reason(&stored, &line(15, path_len)), expected);
}

#[test]
fn session_with_180_cookies_accepts_a_new_cookie_when_a_stored_cookie_has_expired() {
    let mut lines: Vec<_> = (1..180).map(|n| format!("c{n}=v")).collect();
    lines.push("short=1; Max-Age=10".to_owned());
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let full = Cookies::default().merged(&set_cookie(LOGIN_URL, &lines), &base_url(), NOW);
    let full = full.cookies.unwrap();
    assert_eq!(full.len(), 180);
    let add = |now| full.merged(&set_cookie(LOGIN_URL, &["new=1"]), &base_url(), now);
    assert_eq!(add(NOW).ignored[0].reason, IgnoreReason::Full);
    let later = add(NOW + Duration::seconds(11));
    assert_eq!(later.ignored, []);
    assert_eq!(later.cookies.unwrap().get("new"), Some("1"));
}

/// Merges `line` into a session with the cookies of `stored`. Returns the reason if the line is
/// ignored.
fn reason(stored: &[String], line: &str) -> Option<IgnoreReason> {
    let stored: Vec<_> = stored.iter().map(String::as_str).collect();
    let stored = Cookies::default().merged(&set_cookie(LOGIN_URL, &stored), &base_url(), NOW);
    assert_eq!(stored.ignored, []);
    let stored = stored.cookies.unwrap();
    let merged = stored.merged(&set_cookie(LOGIN_URL, &[line]), &base_url(), NOW);
    merged.ignored.first().map(|line| line.reason)
}
