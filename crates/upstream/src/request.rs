//! Request to a site.

use std::fmt;

use bytes::Bytes;
use http::{
    HeaderMap, Method,
    header::{CONNECTION, SEC_WEBSOCKET_KEY, UPGRADE},
};
use zeroize::Zeroizing;

use crate::target::Target;

/// Request to a site, with the header fields that the client sent to the gateway. Fields that the
/// site must not receive are removed when the request is sent.
pub struct SiteRequest {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) fields: HeaderMap,
    pub(crate) own_host: Option<String>,
    pub(crate) cookie: Option<Zeroizing<String>>,
    pub(crate) body: Bytes,
}

impl SiteRequest {
    /// Creates a request without header fields and without body.
    #[must_use]
    pub fn new(method: Method, target: Target) -> Self {
        Self {
            method,
            target,
            fields: HeaderMap::new(),
            own_host: None,
            cookie: None,
            body: Bytes::new(),
        }
    }

    /// Sets the header fields that the client sent to the gateway. Some of them, such as `Cookie`
    /// and `Authorization`, are not sent to the site.
    #[must_use]
    pub fn with_fields(mut self, fields: HeaderMap) -> Self {
        self.fields = fields;
        self
    }

    /// Sets the `Host` that the client sent to the gateway. In `Origin` and `Referer`, this host is
    /// replaced by the host of the site.
    #[must_use]
    pub fn with_own_host(mut self, own_host: impl Into<String>) -> Self {
        self.own_host = Some(own_host.into());
        self
    }

    /// Sets the value of the header field `Cookie`.
    #[must_use]
    pub fn with_cookie(mut self, cookie: Option<Zeroizing<String>>) -> Self {
        self.cookie = cookie;
        self
    }

    /// Sets the request body.
    #[must_use]
    pub fn with_body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }
}

/// Shows the method and the path, but neither the cookies nor the query nor the body.
impl fmt::Debug for SiteRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SiteRequest")
            .field("method", &self.method)
            .field("path", &self.target.path())
            .finish_non_exhaustive()
    }
}

/// Returns `true` if a request asks for an upgrade to WebSocket, which the gateway does not
/// support. `Sec-WebSocket-Key` alone also counts, because a proxy in front of the gateway may have
/// removed `Upgrade` and `Connection`. The site would take such a request for an ordinary request.
///
/// Returns `false` for an upgrade to another protocol, which a server may ignore (RFC 9110, section
/// 7.8).
#[must_use]
pub fn asks_for_websocket(fields: &HeaderMap) -> bool {
    let contains = |name, token: &str| {
        let values = fields.get_all(name).iter();
        let mut parts = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        parts.any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    fields.contains_key(SEC_WEBSOCKET_KEY)
        || contains(UPGRADE, "websocket") && contains(CONNECTION, "upgrade")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::websocket("Upgrade", "websocket", true)]
    #[case::other_case("keep-alive, UPGRADE", "WebSocket", true)]
    #[case::among_others("upgrade", "h2c, websocket", true)]
    #[case::http2("Upgrade, HTTP2-Settings", "h2c", false)]
    #[case::tls("upgrade", "TLS/1.2", false)]
    #[case::not_a_connection_option("keep-alive", "websocket", false)]
    #[case::longer_name("upgrade", "websocket2", false)]
    fn only_an_upgrade_to_websocket_is_detected_as_a_websocket_request(
        #[case] connection: &'static str,
        #[case] upgrade: &'static str,
        #[case] expected: bool,
    ) {
        let mut fields = HeaderMap::new();
        fields.insert(CONNECTION, HeaderValue::from_static(connection));
        fields.insert(UPGRADE, HeaderValue::from_static(upgrade));
        assert_eq!(asks_for_websocket(&fields), expected);
    }

    #[test]
    fn websocket_key_without_an_upgrade_is_detected_as_a_websocket_request() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let fields = HeaderMap::from_iter([(SEC_WEBSOCKET_KEY, key)]);
        assert!(asks_for_websocket(&fields));
    }
}
