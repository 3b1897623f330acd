//! Rules for header fields that apply to requests and to answers.

use std::{collections::HashSet, time::Duration};

use http::{
    HeaderMap, HeaderName,
    header::{CONNECTION, CONTENT_LENGTH},
};

/// Hop-by-hop header fields (RFC 9110, section 7.6.1), which are not passed on. The header fields
/// that `Connection` names are not passed on either.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    // The sender sets this field itself.
    "content-length",
    "expect",
];

/// Returns `true` if `name` is a hop-by-hop header field.
pub(crate) fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name) || name.starts_with("proxy-")
}

/// Returns the names of the header fields that `Connection` lists (RFC 9110, section 7.6.1).
pub(crate) fn connection_options(fields: &HeaderMap) -> HashSet<HeaderName> {
    let values = fields.get_all(CONNECTION).iter();
    let options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .collect()
}

/// Returns the name of a header field with each `_` replaced by `-`. CGI, WSGI and other interfaces
/// do not distinguish `_` from `-`, so a client could forge the field `X-Forwarded-For` with the
/// name `X_Forwarded_For`.
pub(crate) fn seen_name(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

/// Returns the value of `Content-Length`. If an answer has a body and contradictory values of
/// `Content-Length`, hyper has already rejected the answer.
pub(crate) fn content_length(fields: &HeaderMap) -> Option<u64> {
    fields
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Returns the time for which a site keeps an idle connection open. The time is the parameter
/// `timeout` of the `Keep-Alive` header field, which Apache and nginx send.
pub(crate) fn announced_keep_alive(fields: &HeaderMap) -> Option<Duration> {
    let value = fields
        .get("keep-alive")?
        .to_str()
        .ok()?
        .to_ascii_lowercase();
    let seconds = value
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout=")?.trim().parse().ok())?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::apache("timeout=5, max=100", Some(5))]
    #[case::nginx("timeout=75", Some(75))]
    #[case::other_case("Timeout=3", Some(3))]
    #[case::max_only("max=100", None)]
    #[case::text("timeout=soon", None)]
    fn keep_alive_timeout_is_parsed(#[case] value: &'static str, #[case] seconds: Option<u64>) {
        let mut fields = HeaderMap::new();
        fields.insert("keep-alive", HeaderValue::from_static(value));
        assert_eq!(
            announced_keep_alive(&fields),
            seconds.map(Duration::from_secs)
        );
    }
}
