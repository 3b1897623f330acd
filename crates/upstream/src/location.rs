//! Conversion of a site's redirects to redirects within the gateway.

use http::HeaderValue;
use url::Url;

use crate::{site::Site, target::Target};

/// Result of mapping the value of `Location` or `Content-Location`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mapped {
    /// The URL belongs to the same site. Contains the path within the gateway.
    Site(HeaderValue),
    /// The URL belongs to another site, or is invalid. Contains the field value for the client: the
    /// absolute URL, or the unchanged value if the URL is invalid.
    Elsewhere(HeaderValue),
}

/// Resolves the value of `Location` or `Content-Location` to an absolute URL (RFC 9110, section
/// 10.2.2). A relative value is resolved against the URL of the request. Returns `None` if the
/// value is not a valid URL.
pub(crate) fn resolve(value: &HeaderValue, site: &Site, target: &Target) -> Option<Url> {
    // Bytes that are not ASCII are percent-encoded, which does not change the meaning of the URL.
    let mut text = String::with_capacity(value.len());
    for byte in value.as_bytes() {
        match byte {
            0x21..=0x7e | b' ' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    let base = Url::parse(&format!("{}{}", site.origin(), target.as_str()));
    base.and_then(|base| base.join(&text)).ok()
}

/// Maps the value of `Location` or `Content-Location` in the answer of `site` to a request for
/// `target`. A URL of `site` becomes a path that begins with `prefix`, the path prefix of the
/// gateway.
pub(crate) fn map(value: &HeaderValue, site: &Site, target: &Target, prefix: &str) -> Mapped {
    let Some(url) = resolve(value, site, target) else {
        return Mapped::Elsewhere(value.clone());
    };
    if Site::of(&url).as_ref() != Some(site) {
        let elsewhere = HeaderValue::try_from(url.as_str());
        return Mapped::Elsewhere(elsewhere.unwrap_or_else(|_| value.clone()));
    }
    let mut mapped = format!("{prefix}{}", url.path());
    if let Some(query) = url.query() {
        mapped.push('?');
        mapped.push_str(query);
    }
    if let Some(fragment) = url.fragment() {
        mapped.push('#');
        mapped.push_str(fragment);
    }
    match HeaderValue::try_from(mapped) {
        Ok(mapped) => Mapped::Site(mapped),
        Err(_) => Mapped::Elsewhere(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn mapped(value: &str) -> Mapped {
        mapped_of("https://golf.example", value)
    }

    fn mapped_of(site: &str, value: &str) -> Mapped {
        let site = Site::of_url(site).unwrap();
        let target = Target::parse("/members/book.php?slot=7").unwrap();
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        map(&value, &site, &target, "/v1/upstream")
    }

    #[rstest]
    #[case::absolute_path("/login", "/v1/upstream/login")]
    #[case::relative("list.php", "/v1/upstream/members/list.php")]
    #[case::parent("../login", "/v1/upstream/login")]
    #[case::above_the_root("../../../login", "/v1/upstream/login")]
    #[case::query_and_fragment("/a?edit=42#top", "/v1/upstream/a?edit=42#top")]
    #[case::only_a_query("?edit=42", "/v1/upstream/members/book.php?edit=42")]
    #[case::only_a_fragment("#top", "/v1/upstream/members/book.php?slot=7#top")]
    #[case::empty("", "/v1/upstream/members/book.php?slot=7")]
    #[case::absolute("https://golf.example/a", "/v1/upstream/a")]
    #[case::absolute_with_port("https://golf.example:443/a", "/v1/upstream/a")]
    #[case::other_case("HTTPS://GOLF.example/a", "/v1/upstream/a")]
    #[case::without_scheme("//golf.example/a", "/v1/upstream/a")]
    #[case::without_path("https://golf.example", "/v1/upstream/")]
    #[case::credentials("https://user:pass@golf.example/a", "/v1/upstream/a")]
    #[case::own_prefix("/v1/upstream/a", "/v1/upstream/v1/upstream/a")]
    #[case::encoded("/a%2Fb?c=%3F", "/v1/upstream/a%2Fb?c=%3F")]
    #[case::space("/a b", "/v1/upstream/a%20b")]
    #[case::not_ascii("/caf\u{e9}", "/v1/upstream/caf%C3%A9")]
    #[case::double_slash("https://golf.example//evil.example", "/v1/upstream//evil.example")]
    #[case::backslash("/\\a", "https://a/")]
    fn redirect_within_the_site_is_rewritten_to_a_path_of_the_gateway(
        #[case] value: &str,
        #[case] expected: &str,
    ) {
        let expected_value = HeaderValue::from_str(expected).unwrap();
        // A browser reads `/\` like `//`, as the start of a host.
        let expected = if expected.starts_with('/') {
            Mapped::Site(expected_value)
        } else {
            Mapped::Elsewhere(expected_value)
        };
        assert_eq!(mapped(value), expected);
    }

    #[rstest]
    #[case::other_host("https://evil.example/a", "https://evil.example/a")]
    #[case::without_scheme("//evil.example/a", "https://evil.example/a")]
    #[case::backslashes("\\\\evil.example\\a", "https://evil.example/a")]
    #[case::other_port("https://golf.example:8443/a", "https://golf.example:8443/a")]
    #[case::http("http://golf.example/a", "http://golf.example/a")]
    #[case::subdomain("https://www.golf.example/", "https://www.golf.example/")]
    #[case::trailing_dot("https://golf.example./", "https://golf.example./")]
    #[case::host_in_credentials(
        "https://golf.example@evil.example/",
        "https://golf.example@evil.example/"
    )]
    #[case::javascript("javascript:alert(1)", "javascript:alert(1)")]
    #[case::data("data:text/html,x", "data:text/html,x")]
    #[case::file("file:///etc/passwd", "file:///etc/passwd")]
    #[case::app("golfapp://open", "golfapp://open")]
    #[case::no_url("https://[", "https://[")]
    fn redirect_to_another_site_is_not_mapped_to_a_path_of_the_gateway(
        #[case] value: &str,
        #[case] expected: &str,
    ) {
        let expected = HeaderValue::from_str(expected).unwrap();
        assert_eq!(mapped(value), Mapped::Elsewhere(expected));
    }

    #[rstest]
    #[case::https("https://golf.example/a")]
    #[case::http_on_the_port_of_https("http://golf.example:443/a")]
    fn redirect_to_another_origin_of_an_http_site_is_not_mapped_to_a_path_of_the_gateway(
        #[case] value: &str,
    ) {
        let expected = HeaderValue::from_str(value).unwrap();
        let mapped = mapped_of("http://golf.example", value);
        assert_eq!(mapped, Mapped::Elsewhere(expected));
    }
}
