//! The `Idempotency-Key` request header (draft-ietf-httpapi-idempotency-key-header), with which a
//! client can repeat a request whose response was lost.

use actix_web::{
    HttpResponse,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use tee_session_domain::{IdempotencyKey, IdempotentRequest};

use crate::{problem::ApiError, settings::ApiSettings};

/// Name of the request header.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Name of the response header that a repetition gets.
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Description of the request header in the API description.
pub(crate) const IDEMPOTENCY_KEY_USE: &str = "Makes it safe to repeat the request if its response was lost: 16 to 255 visible ASCII \
     characters, unique for each request, for example a UUID. A repetition within 60 seconds, with \
     the same credentials and body, gets the same token.";

/// Minimum length of a key in characters. Shorter keys could be equal by chance.
const MIN_LEN: usize = 16;

/// Maximum length of a key in characters.
const MAX_LEN: usize = 255;

/// Time within which an operation certainly ends, as a multiple of [`ApiSettings::call_timeout`].
/// The client gets a response after at most five call timeouts. Then the operation may still undo
/// its changes.
const LEASE_CALLS: u32 = 10;

/// Returns the key of a request. Returns `None` if the request has no `Idempotency-Key` header.
///
/// # Errors
/// Returns an error if the header is repeated, or if its value is not 16 to 255 visible ASCII
/// characters.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<&[u8]>, ApiError> {
    let mut values = headers.get_all(&IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let value = value.as_bytes();
    let is_valid = (MIN_LEN..=MAX_LEN).contains(&value.len())
        && value.iter().all(u8::is_ascii_graphic)
        && values.next().is_none();
    if is_valid {
        Ok(Some(value))
    } else {
        Err(ApiError::InvalidRequest(format!(
            "Idempotency-Key must be sent once, with {MIN_LEN} to {MAX_LEN} visible ASCII characters"
        )))
    }
}

/// Combines the key of a request with its operation, its credential and its body. `credential` is
/// `None` if the request has none.
///
/// # Errors
/// Returns an error if there is no credential, because other clients could then get the result.
pub(crate) fn idempotent_request(
    key: &[u8],
    operation: &str,
    credential: Option<&[u8]>,
    body: &[u8],
    settings: &ApiSettings,
) -> Result<IdempotentRequest, ApiError> {
    let credential = credential.ok_or_else(|| {
        let detail = "Idempotency-Key needs the credentials of a service client";
        ApiError::InvalidRequest(detail.to_owned())
    })?;
    let key = IdempotencyKey::derive(operation, credential, key);
    Ok(IdempotentRequest {
        fingerprint: key.fingerprint(body),
        key,
        lease: settings.call_timeout * LEASE_CALLS,
    })
}

/// Adds the header `Idempotency-Replayed: true` to the response to a repetition.
pub(crate) fn mark_replay(response: &mut HttpResponse, is_replay: bool) {
    if is_replay {
        let value = HeaderValue::from_static("true");
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, value);
    }
}
