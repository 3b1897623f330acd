//! Limits on the size of request heads. The framework rejects a request head of more than 128 KiB
//! or 96 header fields before these limits are checked. On `/v1/authorize`, only the limits of the
//! framework apply, because a gateway copies the head from a request to another application.

use actix_web::HttpRequest;

use crate::problem::ApiError;

/// Maximum length of a request target, in bytes. RFC 9110, section 4.1 recommends at least 8000.
const MAX_TARGET_LEN: usize = 8 * 1_024;

/// Maximum length of the names and values of all header fields together, in bytes.
const MAX_FIELDS_LEN: usize = 32 * 1_024;

/// Rejects a request whose target is longer than [`MAX_TARGET_LEN`], or whose header fields
/// together are longer than [`MAX_FIELDS_LEN`].
pub(crate) fn check(request: &HttpRequest) -> Result<(), ApiError> {
    let target = request.uri().path_and_query();
    if target.is_some_and(|target| target.as_str().len() > MAX_TARGET_LEN) {
        return Err(ApiError::UriTooLong);
    }
    let fields = request.headers().iter();
    let len: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if len > MAX_FIELDS_LEN {
        return Err(ApiError::HeaderFieldsTooLarge);
    }
    Ok(())
}
