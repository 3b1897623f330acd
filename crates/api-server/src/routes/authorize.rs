//! `/v1/authorize`: for gateways, which ask before they pass a request on (forward auth).

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, HeaderValue},
};
use tee_session_auth_middleware::CurrentSession;

use crate::body::{self, AuthorizedBody, Timestamp};

const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
const SESSION_EXPIRES_AT: HeaderName = HeaderName::from_static("x-session-expires-at");
const SESSION_BASE_URL: HeaderName = HeaderName::from_static("x-session-base-url");
const SESSION_SUBJECT: HeaderName = HeaderName::from_static("x-session-subject");

/// Any method, whatever the body: the session that the token opens, in fields that a gateway can
/// pass on. It slides. Always 200, because one gateway takes no other status for a yes.
pub(super) async fn authorize(current: CurrentSession) -> HttpResponse {
    let mut response = body::ok(&AuthorizedBody::new(&current));
    let base_url = current.session.base_url.ascii_serialization();
    let subject = current.session.subject.as_ref();
    let fields = [
        (SESSION_ID, field(current.session_id().to_string())),
        (
            SESSION_EXPIRES_AT,
            Timestamp(current.expires_at).header_value(),
        ),
        (SESSION_BASE_URL, base_url.and_then(field)),
        (
            SESSION_SUBJECT,
            subject.and_then(|subject| field(subject.as_str().to_owned())),
        ),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn field(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}
