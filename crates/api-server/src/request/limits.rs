//! How large the head of a request may be. The framework refuses what is larger than 128 KiB or
//! has more than 96 header fields before anything of ours sees it.

use actix_web::HttpRequest;

use crate::problem::ApiError;

/// Most bytes of a request target. RFC 9110, section 4.1 asks for 8000 at least.
const MAX_TARGET_LEN: usize = 8 * 1_024;

/// Most bytes of all names and values of header fields together.
const MAX_FIELDS_LEN: usize = 32 * 1_024;

/// Refuses a request whose head is too large.
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
