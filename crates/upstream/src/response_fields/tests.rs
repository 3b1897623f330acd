use rstest::rstest;

use super::*;

fn clean_fields(lines: &[(&str, &str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::try_from(*name).unwrap();
        fields.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let site = Site::of_url("https://golf.example").unwrap();
    let target = Target::parse("/members/list?day=7").unwrap();
    clean(
        &Exchange::new(&site, &target),
        fields,
        &ClientSettings::default(),
    )
}

#[rstest]
#[case("set-cookie", "sid=1")]
#[case("set-cookie2", "sid=1")]
#[case("connection", "close")]
#[case("keep-alive", "timeout=5")]
#[case("proxy-authenticate", "Basic")]
#[case("proxy-connection", "close")]
#[case("te", "trailers")]
#[case("trailer", "X-End")]
#[case("transfer-encoding", "chunked")]
#[case("content-length", "7")]
#[case("upgrade", "h2c")]
#[case("alt-svc", "h3=\":443\"")]
#[case("strict-transport-security", "max-age=1")]
#[case("public-key-pins", "pin-sha256=\"x\"")]
#[case("clear-site-data", "\"*\"")]
#[case("service-worker-allowed", "/")]
#[case("nel", "{}")]
#[case("report-to", "{}")]
#[case("reporting-endpoints", "a=\"https://evil.example\"")]
#[case("refresh", "0; url=https://evil.example")]
#[case("access-control-allow-origin", "*")]
#[case("access-control-allow-credentials", "true")]
#[case("access-control-expose-headers", "x-a")]
#[case("x-session-id", "1")]
#[case("x-upstream-cookies", "unsaved")]
#[case("x-upstream-location", "https://evil.example")]
#[case("x-request-id", "1")]
#[case("x_request_id", "1")]
#[case("traceresponse", "00-1-2-00")]
#[case("x-accel-redirect", "/internal/secret")]
#[case("x-accel-expires", "3600")]
#[case("x-sendfile", "/etc/passwd")]
#[case("surrogate-control", "max-age=60")]
#[case("cdn-cache-control", "max-age=60")]
#[case("cloudflare-cdn-cache-control", "max-age=60")]
#[case("expires", "Thu, 15 Jan 2027 10:30:00 GMT")]
#[case("accept-ch", "Sec-CH-UA-Model")]
#[case("set-login", "logged-in")]
#[case("content-security-policy-report-only", "default-src *")]
#[case("www-authenticate", "Negotiate")]
#[case("www-authenticate", "NTLM TlRMTVNTUAAC")]
#[case("www-authenticate", "negotiate abc, ntlm")]
fn field_that_is_not_for_the_client_is_removed(#[case] name: &str, #[case] value: &str) {
    assert!(!clean_fields(&[(name, value)]).contains_key(name));
}

#[rstest]
#[case("date", "Thu, 15 Jan 2026 10:30:00 GMT")]
#[case("etag", "\"a\"")]
#[case("last-modified", "Thu, 15 Jan 2026 10:30:00 GMT")]
#[case("content-type", "text/html; charset=iso-8859-1")]
#[case("content-encoding", "gzip")]
#[case("content-language", "de")]
#[case("content-disposition", "attachment; filename=\"a.pdf\"")]
#[case("content-range", "bytes 0-99/200")]
#[case("accept-ranges", "bytes")]
#[case("retry-after", "120")]
#[case("vary", "Accept-Encoding, Cookie")]
#[case("server", "Apache")]
#[case("x-powered-by", "PHP/8.3")]
#[case("link", "</a.css>; rel=preload")]
#[case("x-latin-1", "caf\u{e9}")]
#[case("www-authenticate", "Basic realm=\"a, b\"")]
#[case("location", "/v1/upstream/members")]
fn field_that_may_reach_the_client_is_passed_on(#[case] name: &str, #[case] value: &str) {
    let value = if name == "location" {
        "/members"
    } else {
        value
    };
    let fields = clean_fields(&[(name, value)]);
    let expected = if name == "location" {
        "/v1/upstream/members"
    } else {
        value
    };
    assert_eq!(fields[name].as_bytes(), expected.as_bytes());
}

#[rstest]
#[case("cache-control", "public, max-age=60", "no-store")]
#[case(
    "content-security-policy",
    "script-src *",
    "default-src 'none'; sandbox"
)]
#[case("x-content-type-options", "none", "nosniff")]
fn header_field_that_the_gateway_sets_replaces_the_field_of_the_site(
    #[case] name: &str,
    #[case] value: &str,
    #[case] expected: &str,
) {
    for lines in [&[(name, value), (name, value)][..], &[]] {
        let fields = clean_fields(lines);
        assert_eq!(fields.get_all(name).iter().count(), 1);
        assert_eq!(fields[name], expected);
    }
}

#[test]
fn via_header_is_added_to_each_answer() {
    assert_eq!(clean_fields(&[])[VIA], "1.1 tee-session");
    let fields = clean_fields(&[("via", "1.1 varnish")]);
    let values: Vec<_> = fields.get_all(VIA).iter().collect();
    assert_eq!(values, ["1.1 varnish", "1.1 tee-session"]);
}

#[rstest]
#[case("Negotiate, Basic realm=\"a\"", "Basic realm=\"a\"")]
#[case("Basic realm=\"a\", NTLM", "Basic realm=\"a\"")]
#[case(
    "NTLM, Digest realm=\"a\", nonce=\"b\"",
    "Digest realm=\"a\", nonce=\"b\""
)]
fn www_authenticate_challenges_other_than_negotiate_and_ntlm_are_kept(
    #[case] value: &str,
    #[case] kept: &str,
) {
    assert_eq!(
        clean_fields(&[("www-authenticate", value)])[WWW_AUTHENTICATE],
        kept
    );
}

#[test]
fn redirect_to_another_site_is_moved_to_a_header_that_clients_do_not_follow() {
    let lines = [
        ("location", "https://evil.example/x"),
        ("content-location", "//evil.example"),
    ];
    let fields = clean_fields(&lines);
    assert!(!fields.contains_key(LOCATION));
    assert!(!fields.contains_key(CONTENT_LOCATION));
    assert_eq!(fields[UPSTREAM_LOCATION], "https://evil.example/x");
}

#[test]
fn field_that_the_connection_header_lists_is_removed_unless_the_gateway_sets_it() {
    let lines = [("connection", "X-Hop, Via, Cache-Control"), ("x-hop", "1")];
    let fields = clean_fields(&lines);
    assert!(!fields.contains_key("x-hop"));
    assert_eq!(fields[VIA], "1.1 tee-session");
    assert_eq!(fields[CACHE_CONTROL], "no-store");
}
