//! Conversion of header fields and methods between the web framework and the gateway's client. Both
//! use types of the crate `http`, but of different versions.

use actix_web::{
    HttpRequest,
    http::header::{
        HeaderMap as ActixFields, HeaderName as ActixName, HeaderValue as ActixValue,
        SEC_WEBSOCKET_KEY, UPGRADE,
    },
};
use tee_session_upstream::{
    asks_for_websocket,
    http::{HeaderMap, HeaderName, HeaderValue, Method},
};

/// Response header field that reports that the cookies of the answer were not stored.
pub(crate) const COOKIES_UNSAVED: (ActixName, &str) =
    (ActixName::from_static("x-upstream-cookies"), "unsaved");

/// Returns the header fields of a request in the types of the gateway's client.
pub(super) fn fields_of(request: &HttpRequest) -> HeaderMap {
    let sent = request.headers();
    let mut fields = HeaderMap::with_capacity(sent.len());
    for (name, value) in sent {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

/// Returns `true` if the request asks for an upgrade to the WebSocket protocol.
pub(crate) fn is_websocket(request: &HttpRequest) -> bool {
    let fields = request.headers();
    let may_ask = fields.contains_key(UPGRADE) || fields.contains_key(SEC_WEBSOCKET_KEY);
    may_ask && asks_for_websocket(&fields_of(request))
}

/// Returns the method of a request in the type of the gateway's client. Returns `None` if the
/// client cannot send this method. The gateway has already rejected such a method.
pub(super) fn method_of(request: &HttpRequest) -> Option<Method> {
    Method::from_bytes(request.method().as_str().as_bytes()).ok()
}

/// Adds the header fields of a site's answer to `response`.
pub(super) fn add_fields(response: &mut ActixFields, fields: &HeaderMap) {
    for (name, value) in fields {
        let name = ActixName::from_bytes(name.as_str().as_bytes());
        let value = ActixValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.append(name, value);
        }
    }
}
