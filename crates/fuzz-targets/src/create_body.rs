use serde_json::json;
use tee_session_api_server::fuzzing::parse_create_body;
use tee_session_domain::Cookies;

/// Fuzz target for the parser of the body of `POST /v1/sessions`.
///
/// The cookies of an accepted body must respect all limits on number, length and characters. If the
/// parsed values are serialized to a new body, the parser must return the same values for the new
/// body.
pub fn create_body(input: &[u8]) {
    let Some((cookies, base_url)) = parse_create_body(input) else {
        return;
    };
    assert!((1..=Cookies::MAX_COUNT).contains(&cookies.len()));
    let total: usize = cookies.iter().map(|(n, v)| n.len() + v.len()).sum();
    assert!(total <= Cookies::MAX_TOTAL_LEN);
    let mut written = serde_json::Map::new();
    for (name, value) in cookies.iter() {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!value.chars().any(char::is_control));
        written.insert(name.to_owned(), json!(value));
    }
    let again = json!({"cookies": written, "base_url": base_url.as_str()}).to_string();
    let (cookies_again, base_url_again) =
        parse_create_body(again.as_bytes()).expect("a serialized body is accepted");
    assert_eq!(cookies_again.len(), cookies.len());
    for (name, value) in cookies.iter() {
        assert_eq!(cookies_again.get(name), Some(value));
    }
    assert_eq!(base_url_again, base_url);
}
