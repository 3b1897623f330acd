use bytes::Bytes;
use rstest::rstest;

use super::*;
use crate::target::Target;

fn clean_fields(lines: &[(&str, &str)], settings: &ClientSettings) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::try_from(*name).unwrap();
        fields.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let request = SiteRequest::new(Method::GET, Target::parse("/x").unwrap())
        .with_fields(fields)
        .with_own_host("broker.example")
        .with_cookie(Some("sid=1".to_owned().into()));
    let site = Site::of_url("https://golf.example/members").unwrap();
    clean(&site, &request, settings)
}

/// Returns the value that the site receives if the client sends the header field `name` with
/// `value`. Returns `None` if the site does not receive the field.
fn received(name: &str, value: &str) -> Option<String> {
    let fields = clean_fields(&[(name, value)], &ClientSettings::default());
    let value = fields.get(name)?;
    Some(String::from_utf8(value.as_bytes().to_vec()).unwrap())
}

#[rstest]
#[case("authorization", "Bearer secret")]
#[case("connection", "keep-alive")]
#[case("keep-alive", "timeout=5")]
#[case("proxy-authorization", "Basic eDp5")]
#[case("proxy-connection", "keep-alive")]
#[case("te", "trailers")]
#[case("trailer", "X-End")]
#[case("transfer-encoding", "chunked")]
#[case("content-length", "7")]
#[case("upgrade", "h2c")]
#[case("http2-settings", "AAMAAABk")]
#[case("expect", "100-continue")]
#[case("forwarded", "for=192.0.2.1")]
#[case("x-forwarded-for", "192.0.2.1")]
#[case("x-forwarded-host", "broker.example")]
#[case("x-forwarded-proto", "https")]
#[case("x_forwarded_for", "192.0.2.1")]
#[case("x-real-ip", "192.0.2.1")]
#[case("x-request-id", "1")]
#[case(
    "traceparent",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)]
#[case("tracestate", "a=b")]
#[case("baggage", "a=b")]
#[case("x-session-id", "1")]
#[case("x-session-subject", "anna")]
#[case("x-upstream-cookies", "unsaved")]
#[case("cookie2", "$Version=1")]
#[case("via", "1.1 proxy")]
#[case("origin", "https://evil.example")]
#[case("origin", "null")]
#[case("referer", "https://evil.example/page")]
#[case("referer", "https://broker.example/docs")]
#[case("referer", "https://broker.example/v1/upstreams/x")]
#[case("referer", "about:blank")]
fn field_that_is_not_for_the_site_is_removed(#[case] name: &str, #[case] value: &str) {
    assert_eq!(received(name, value), None);
}

#[rstest]
#[case("user-agent", "Mozilla/5.0")]
#[case("accept", "text/html")]
#[case("accept-encoding", "gzip, br")]
#[case("accept-language", "de")]
#[case("content-type", "application/x-www-form-urlencoded")]
#[case("range", "bytes=0-99")]
#[case("if-none-match", "\"a\"")]
#[case("if-modified-since", "Thu, 15 Jan 2026 10:30:00 GMT")]
#[case("x-requested-with", "XMLHttpRequest")]
#[case("x-csrftoken", "abc")]
#[case("sec-fetch-site", "same-origin")]
#[case("dnt", "1")]
#[case("idempotency-key", "7")]
#[case("cache-control", "no-cache")]
#[case("x-latin-1", "caf\u{e9}")]
#[case("origin", "https://golf.example")]
#[case("referer", "https://golf.example/members?page=2")]
fn field_that_may_reach_the_site_is_passed_on_unchanged(#[case] name: &str, #[case] value: &str) {
    assert_eq!(received(name, value).as_deref(), Some(value));
}

#[rstest]
#[case("origin", "https://broker.example", "https://golf.example")]
#[case("origin", "http://broker.example", "https://golf.example")]
#[case("origin", "https://BROKER.example:443", "https://golf.example")]
#[case(
    "referer",
    "https://broker.example/v1/upstream/list?day=7",
    "https://golf.example/list?day=7"
)]
#[case(
    "referer",
    "https://broker.example/v1/upstream/",
    "https://golf.example/"
)]
#[case(
    "referer",
    "https://user:pass@broker.example/v1/upstream/a#b",
    "https://golf.example/a"
)]
fn origin_and_referer_of_the_gateway_are_translated_to_the_site(
    #[case] name: &str,
    #[case] value: &str,
    #[case] expected: &str,
) {
    assert_eq!(received(name, value).as_deref(), Some(expected));
}

#[test]
fn host_and_cookie_headers_of_the_client_are_replaced() {
    let lines = [("host", "evil.example"), ("cookie", "sid=forged")];
    let fields = clean_fields(&lines, &ClientSettings::default());
    assert_eq!(fields[HOST], "golf.example");
    assert_eq!(fields.get_all(COOKIE).iter().count(), 1);
    assert_eq!(fields[COOKIE], "sid=1");
    assert!(!format!("{fields:?}").contains("sid=1"));
}

#[rstest]
#[case("Cookie, X-Forwarded-For")]
#[case("close, cookie, host")]
#[case("content-length, user-agent")]
fn connection_header_cannot_remove_a_field_that_the_gateway_sets(#[case] options: &str) {
    let lines = [("connection", options), ("x-forwarded-for", "192.0.2.1")];
    let settings = ClientSettings {
        user_agent: Some("Broker/1".to_owned()),
        ..ClientSettings::default()
    };
    let fields = clean_fields(&lines, &settings);
    assert_eq!(fields[COOKIE], "sid=1");
    assert_eq!(fields[HOST], "golf.example");
    assert_eq!(fields[USER_AGENT], "Broker/1");
    assert!(!fields.contains_key("x-forwarded-for"));
    assert!(!fields.contains_key("connection"));
}

#[test]
fn field_that_the_connection_header_lists_is_removed() {
    let lines = [
        ("connection", "close"),
        ("connection", "X-Hop , x-two"),
        ("x-hop", "1"),
        ("x-two", "2"),
        ("x-three", "3"),
    ];
    let fields = clean_fields(&lines, &ClientSettings::default());
    assert!(!fields.contains_key("x-hop"));
    assert!(!fields.contains_key("x-two"));
    assert_eq!(fields["x-three"], "3");
}

#[test]
fn repeated_field_keeps_its_values_in_order() {
    let lines = [("x-a", "1"), ("x-b", "2"), ("x-a", "3")];
    let fields = clean_fields(&lines, &ClientSettings::default());
    let values: Vec<_> = fields.get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "3"]);
}

#[rstest]
#[case(Method::GET, "", None)]
#[case(Method::DELETE, "", None)]
#[case(Method::POST, "", Some("0"))]
#[case(Method::PUT, "", Some("0"))]
#[case(Method::POST, "abc", Some("3"))]
#[case(Method::GET, "abc", Some("3"))]
fn content_length_of_the_request_body_is_sent_to_the_site(
    #[case] method: Method,
    #[case] body: &'static str,
    #[case] expected: Option<&str>,
) {
    let request = SiteRequest::new(method, Target::parse("/").unwrap())
        .with_body(Bytes::from_static(body.as_bytes()));
    let site = Site::of_url("https://golf.example:8443").unwrap();
    let fields = clean(&site, &request, &ClientSettings::default());
    let length = fields
        .get(CONTENT_LENGTH)
        .map(|value| value.to_str().unwrap());
    assert_eq!(length, expected);
    assert_eq!(fields[HOST], "golf.example:8443");
    assert!(!fields.contains_key(COOKIE));
}
