//! The `Idempotency-Key` request header (draft-ietf-httpapi-idempotency-key-header), with which a
//! client can repeat a request whose response was lost.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use tee_session_domain::{IdempotencyKey, IdempotentRequest};

use crate::{problem::ApiError, settings::ApiSettings};

/// Name of the request header `Idempotency-Key`.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Name of the response header `Idempotency-Replayed`, which marks the response to a repetition.
pub(crate) const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Description of the request header `Idempotency-Key` in the API description.
pub(crate) const IDEMPOTENCY_KEY_USE: &str = "Makes it safe to repeat the request if its response was lost: 16 to 255 visible ASCII \
     characters, unique for each request, for example a UUID. A repetition within 60 seconds, with \
     the same credentials and body, gets the same token. The request must have credentials.";

/// Minimum length of an idempotency key in characters. Shorter keys could be equal by chance.
const MIN_LEN: usize = 16;

/// Maximum length of an idempotency key in characters.
const MAX_LEN: usize = 255;

/// Duration of the lease of an operation with an `Idempotency-Key`, as a multiple of
/// [`ApiSettings::call_timeout`]. The client gets a response after at most five call timeouts. The
/// rest of the lease is a reserve for further calls of the operation.
const LEASE_CALLS: u32 = 10;

/// Time that is added to the lease of an operation with an `Idempotency-Key`, for commands that are
/// still on their way to the store after their timeout.
const LEASE_MARGIN: Duration = Duration::from_secs(4);

/// Maximum duration of the lease of an operation with an `Idempotency-Key`. The idempotency record
/// is stored for 60 s, so a client can still repeat a request after the longest lease.
///
/// A rotation moves the session only if more than half of the lease is left. In a cluster, the move
/// has two steps, each of which may take one call timeout. With a call timeout above 7.5 s, the
/// lease may therefore end during the move.
const MAX_LEASE: Duration = Duration::from_secs(30);

/// Returns the idempotency key of a request, derived from the `Idempotency-Key` header field,
/// `operation` and the `credential` of the client. Returns `None` if the request has no
/// `Idempotency-Key`.
///
/// # Errors
/// Returns an error in these cases:
/// - The header field is repeated, or its value is not 16 to 255 visible ASCII characters.
/// - `credential` is `None`. Without a credential, other clients could get the result.
pub(crate) fn key_of(
    headers: &HeaderMap,
    operation: &str,
    credential: Option<&[u8]>,
) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = headers.get_all(&IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let value = value.as_bytes();
    let is_valid = (MIN_LEN..=MAX_LEN).contains(&value.len())
        && value.iter().all(u8::is_ascii_graphic)
        && values.next().is_none();
    if !is_valid {
        return Err(ApiError::InvalidRequest(format!(
            "Idempotency-Key must be sent once, with {MIN_LEN} to {MAX_LEN} visible ASCII characters"
        )));
    }
    let credential = credential.ok_or_else(|| {
        let detail = "Idempotency-Key needs credentials: send an Authorization header field, or \
                      leave Idempotency-Key out";
        ApiError::InvalidRequest(detail.to_owned())
    })?;
    Ok(Some(IdempotencyKey::derive(operation, credential, value)))
}

/// Returns the idempotent request with the idempotency key `key`, the fingerprint of its body, and
/// the lease of its operation.
pub(crate) fn idempotent_request(
    key: IdempotencyKey,
    body: &[u8],
    settings: &ApiSettings,
) -> IdempotentRequest {
    IdempotentRequest {
        fingerprint: key.fingerprint(body),
        key,
        lease: lease(settings.call_timeout),
    }
}

fn lease(call_timeout: Duration) -> Duration {
    let operation = call_timeout.saturating_mul(LEASE_CALLS);
    operation.saturating_add(LEASE_MARGIN).min(MAX_LEASE)
}

/// Adds the header `Idempotency-Replayed: true` to the response to a repetition.
pub(crate) fn mark_replay(response: &mut HttpResponse, is_replay: bool) {
    if is_replay {
        let value = HeaderValue::from_static("true");
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, value);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::default(Duration::from_millis(500), Duration::from_secs(9))]
    #[case::shortest(Duration::from_millis(1), Duration::from_millis(4_010))]
    #[case::longest(Duration::from_secs(60), Duration::from_secs(30))]
    fn lease_is_ten_call_timeouts_and_four_seconds_but_at_most_30_s(
        #[case] call_timeout: Duration,
        #[case] expected: Duration,
    ) {
        assert_eq!(lease(call_timeout), expected);
    }
}
