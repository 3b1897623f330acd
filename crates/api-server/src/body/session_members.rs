//! Parsing of JSON members that several request bodies have in common, and errors for invalid
//! members.

use tee_session_auth_middleware::InvalidMember;
use tee_session_domain::{AllowedHosts, BaseUrl, CookieProblem, Cookies, CookiesError};

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

pub(crate) fn faults_of(error: CookiesError) -> Vec<InvalidMember> {
    error.problems.into_iter().map(of_problem).collect()
}

fn of_problem(problem: CookieProblem) -> InvalidMember {
    let pointer = problem
        .cookie
        .as_deref()
        .map_or_else(|| "/cookies".to_owned(), cookie_pointer);
    fault(pointer, problem.rule.to_string())
}

/// Returns the JSON Pointer (RFC 6901) to the cookie `name` in a request body.
///
/// If `name` is too long or is not visible ASCII, returns the pointer to the member `cookies`,
/// because unchecked input must not be repeated in a response.
pub(super) fn cookie_pointer(name: &str) -> String {
    let is_safe = name.len() <= Cookies::MAX_NAME_LEN && name.bytes().all(|b| b.is_ascii_graphic());
    if is_safe {
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
