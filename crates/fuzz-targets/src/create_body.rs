use serde_json::json;
use tee_session_api_server::fuzzing::parse_create_body;
use tee_session_domain::Cookies;

use crate::line_start::starts_a_line;

/// Fuzz target for the parser of the body of `POST /v1/sessions`.
///
/// The parsed cookies must respect all limits on number, length and characters. If the parsed
/// values are serialized to a new body, the parser must return the same values for the new body.
pub fn create_body(input: &[u8]) {
    let Some((cookies, base_url)) = parse_create_body(input) else {
        return;
    };
    assert!(cookies.len() <= Cookies::MAX_COUNT);
    let len = |(name, value): (&str, Option<&str>)| name.len() + value.map_or(0, str::len);
    let total: usize = cookies.iter().map(len).sum();
    assert!(total <= Cookies::MAX_TOTAL_LEN);
    let mut written = serde_json::Map::new();
    for (name, value) in cookies.iter() {
        assert!(!name.contains([';', '=']) && !starts_a_line(name));
        assert!(!value.is_some_and(starts_a_line));
        written.insert(name.to_owned(), json!(value));
    }
    let again = json!({"cookies": written, "base_url": base_url.as_str()}).to_string();
    let (cookies_again, base_url_again) =
        parse_create_body(again.as_bytes()).expect("a serialized body is accepted");
    assert_eq!(cookies_again.len(), cookies.len());
    // A JSON map sorts its members, so the order of the cookies may change.
    for cookie in cookies.iter() {
        assert!(cookies_again.iter().any(|again| again == cookie));
    }
    assert_eq!(base_url_again, base_url);
}
