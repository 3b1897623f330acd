//! Parsing of JSON members that several request bodies have in common, and errors for invalid
//! members.

use tee_session_auth_middleware::InvalidMember;
use tee_session_domain::{AllowedHosts, BaseUrl, CookieProblem, CookieRule, CookiesError};

use super::unique_json::UniqueJson;
use crate::problem::ApiError;

/// Maximum number of errors for cookies in one response. Further errors for cookies are left out.
pub(super) const MAX_ERRORS: usize = 50;

impl From<CookiesError> for ApiError {
    fn from(error: CookiesError) -> Self {
        let mut errors = faults_of(error);
        errors.truncate(MAX_ERRORS);
        Self::InvalidSession(errors)
    }
}

fn faults_of(error: CookiesError) -> Vec<InvalidMember> {
    let problems = error.problems.into_iter();
    let faults = problems.map(|CookieProblem { cookie, rule }| cookie_fault(&cookie, rule));
    faults.collect()
}

/// Returns the error for the cookie `name`, which breaks `rule`.
pub(super) fn cookie_fault(name: &str, rule: CookieRule) -> InvalidMember {
    fault(cookie_pointer(name), rule.to_string())
}

/// Maximum length of a cookie name that a response repeats, in bytes.
const MAX_REPEATED_NAME_LEN: usize = 256;

/// Returns the JSON Pointer (RFC 6901) to the cookie `name` in a request body.
///
/// If `name` is longer than [`MAX_REPEATED_NAME_LEN`], returns the pointer to the member `cookies`,
/// so that a response does not repeat long input.
pub(super) fn cookie_pointer(name: &str) -> String {
    if name.len() <= MAX_REPEATED_NAME_LEN {
        format!("/cookies/{}", name.replace('~', "~0").replace('/', "~1"))
    } else {
        "/cookies".to_owned()
    }
}

/// Parses the member `base_url`. Returns an error for this member if the value is not a valid base
/// URL, or if `allowed_hosts` does not allow the host of the URL.
pub(super) fn parse_base_url(
    value: UniqueJson,
    allowed_hosts: &AllowedHosts,
) -> Result<BaseUrl, InvalidMember> {
    let UniqueJson::String(text) = value else {
        return Err(fault("/base_url", "must be a string"));
    };
    let base_url = BaseUrl::new(text).map_err(|error| fault("/base_url", error.to_string()))?;
    if allowed_hosts.allows(&base_url) {
        Ok(base_url)
    } else {
        Err(fault(
            "/base_url",
            "must have a host that this service allows",
        ))
    }
}

pub(super) fn not_an_object() -> ApiError {
    ApiError::InvalidSession(vec![fault("", "must be an object")])
}

pub(crate) fn fault(pointer: impl Into<String>, detail: impl Into<String>) -> InvalidMember {
    InvalidMember {
        pointer: pointer.into(),
        detail: detail.into(),
    }
}
