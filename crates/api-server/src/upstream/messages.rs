//! Conversion of messages between the HTTP types of the framework and those of the client, which
//! come from different versions of the crate `http`.

use actix_web::{
    HttpRequest,
    http::header::{
        HeaderMap as ActixFields, HeaderName as ActixName, HeaderValue as ActixValue, UPGRADE,
    },
};
use tee_session_upstream::{
    asks_for_websocket,
    http::{HeaderMap, HeaderName, HeaderValue, Method},
};

/// Field that tells the client that the cookies of the answer could not be kept.
pub(crate) const COOKIES_UNSAVED: (ActixName, &str) =
    (ActixName::from_static("x-upstream-cookies"), "unsaved");

/// Returns the header fields of a request.
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

/// Returns `true` if a request asks for a WebSocket.
pub(crate) fn is_websocket(request: &HttpRequest) -> bool {
    request.headers().contains_key(UPGRADE) && asks_for_websocket(&fields_of(request))
}

/// Returns the method of a request. The gateway has already refused methods that a client cannot
/// use.
pub(super) fn method_of(request: &HttpRequest) -> Option<Method> {
    Method::from_bytes(request.method().as_str().as_bytes()).ok()
}

/// Adds the header fields of an answer to `response`.
pub(super) fn add_fields(response: &mut ActixFields, fields: &HeaderMap) {
    for (name, value) in fields {
        let name = ActixName::from_bytes(name.as_str().as_bytes());
        let value = ActixValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.append(name, value);
        }
    }
}
