//! `/v1/authorize`: forward authentication, for gateways that let this service check a request
//! before they pass the request on.

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, HeaderValue},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use tee_session_auth_middleware::CurrentSession;
use tee_session_domain::{SessionId, Subject};
use utoipa::ToSchema;

use crate::{
    openapi::{
        problems::{BearerToken, Problems, StoreUnavailable},
        schemas::{self, BASE_URL, CREATED_AT, EXPIRES_AT, SESSION_ID as ID_EXAMPLE, SUBJECT},
    },
    wire::{self, Timestamp, as_text, sub},
};

pub(crate) const AUTHORIZE: &str = "/v1/authorize";

const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
const SESSION_EXPIRES_AT: HeaderName = HeaderName::from_static("x-session-expires-at");
const SESSION_BASE_URL: HeaderName = HeaderName::from_static("x-session-base-url");
const SESSION_SUBJECT: HeaderName = HeaderName::from_static("x-session-subject");
const ENCODED_SUBJECT: HeaderName = HeaderName::from_static("x-session-subject-encoded");

/// Characters that are percent-encoded in [`ENCODED_SUBJECT`]: all but the unreserved characters of
/// URIs (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Responds with 200 to a request that has a valid bearer token. The response headers contain the
/// session id, the expiry, the base URL and the subject of the session. A gateway can pass these
/// headers on to the upstream server.
///
/// The method and the body of the request are ignored. The access touches the session (renews its
/// TTL).
// OpenAPI cannot express "every method", and a description of each would be one of many copies.
// Only the method that most gateways send is described.
#[utoipa::path(
    get,
    path = AUTHORIZE,
    tag = "Gateways",
    operation_id = "authorize",
    summary = "Check whether a request is allowed",
    description = "For gateways that check a request before they pass it on: 200 allows the \
                   request, any other status denies it. Every method is supported, on this path and \
                   on all paths below it, and is answered like `GET`. Method, path and body are \
                   those of the original request; they are ignored. The access restarts the idle \
                   timeout.",
    responses(
        (
            status = 200,
            description = "The token is valid.",
            headers(
                ("X-Session-Id"),
                ("X-Session-Expires-At"),
                ("X-Session-Base-Url"),
                ("X-Session-Subject"),
                ("X-Session-Subject-Encoded"),
            ),
            body = AuthorizedBody<'_>,
            example = json!({
                "sub": SUBJECT,
                "subject": SUBJECT,
                "extra": {
                    "session_id": ID_EXAMPLE,
                    "base_url": BASE_URL,
                    "created_at": CREATED_AT,
                    "expires_at": EXPIRES_AT,
                },
            }),
        ),
        Problems<(BearerToken, StoreUnavailable)>,
    ),
    security(("session_token" = [])),
)]
pub(super) async fn authorize(current: CurrentSession) -> HttpResponse {
    // The status is always 200, because one of the supported gateways accepts no other status as
    // permission.
    let mut response = wire::ok(&AuthorizedBody::new(&current));
    let base_url = current.session.base_url.ascii_serialization();
    let subject = current.session.attributes.subject.as_ref();
    let fields = [
        (SESSION_ID, field(current.session_id().to_string())),
        (
            SESSION_EXPIRES_AT,
            Timestamp(current.expires_at).header_value(),
        ),
        (SESSION_BASE_URL, base_url.and_then(field)),
    ];
    let subject = subject.map(subject_field);
    for (name, value) in fields.into_iter().chain(subject) {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Returns the header field with the subject. A subject that is not visible ASCII is sent in a
/// different field, because an app must know whether to decode the value.
fn subject_field(subject: &Subject) -> (HeaderName, Option<HeaderValue>) {
    if subject.is_visible_ascii() {
        return (SESSION_SUBJECT, field(subject.as_str().to_owned()));
    }
    let encoded = utf8_percent_encode(subject.as_str(), RESERVED);
    (ENCODED_SUBJECT, field(encoded.to_string()))
}

fn field(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}

/// Response to `/v1/authorize`, in the format that Oathkeeper reads: the subject in `sub`, all
/// other data in `extra`.
#[derive(Serialize, ToSchema)]
struct AuthorizedBody<'a> {
    /// The subject, or the session id if the session has no subject.
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::subject, required = false)]
    subject: Option<&'a str>,
    extra: Extra<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthorizedExtra)]
struct Extra<'a> {
    #[serde(serialize_with = "as_text")]
    #[schema(schema_with = schemas::session_id)]
    session_id: SessionId,
    #[schema(schema_with = schemas::base_url)]
    base_url: &'a str,
    #[schema(schema_with = schemas::created_at)]
    created_at: Timestamp,
    #[schema(schema_with = schemas::expires_at)]
    expires_at: Timestamp,
}

impl<'a> AuthorizedBody<'a> {
    fn new(current: &'a CurrentSession) -> Self {
        let session_id = current.session_id();
        Self {
            sub: sub(&current.session, session_id),
            subject: current
                .session
                .attributes
                .subject
                .as_ref()
                .map(Subject::as_str),
            extra: Extra {
                session_id,
                base_url: current.session.base_url.as_str(),
                created_at: Timestamp(current.session.created_at),
                expires_at: Timestamp(current.expires_at),
            },
        }
    }
}
