//! Members that bodies about a session have in common, and what is said of faulty ones.

use tee_session_auth_middleware::InvalidMember;
use tee_session_domain::{AllowedHosts, BaseUrl, CookieProblem, Cookies, CookiesError};

use super::unique_json::UniqueJson;
use crate::problem::ApiError;

/// So many faults are told; more do not help anybody.
pub(super) const MAX_ERRORS: usize = 50;

impl From<CookiesError> for ApiError {
    fn from(error: CookiesError) -> Self {
        let mut errors = faults_of(error);
        errors.truncate(MAX_ERRORS);
        Self::InvalidSession(errors)
    }
}

pub(super) fn faults_of(error: CookiesError) -> Vec<InvalidMember> {
    error.problems.into_iter().map(of_problem).collect()
}

fn of_problem(problem: CookieProblem) -> InvalidMember {
    let pointer = problem
        .cookie
        .as_deref()
        .map_or_else(|| "/cookies".to_owned(), cookie_pointer);
    fault(pointer, problem.rule.to_string())
}

/// Points at a cookie by its name, unless the name itself is no sound one: input is not echoed.
pub(super) fn cookie_pointer(name: &str) -> String {
    let is_sound =
        name.len() <= Cookies::MAX_NAME_LEN && name.bytes().all(|b| b.is_ascii_graphic());
    if is_sound {
        format!("/cookies/{}", name.replace('~', "~0").replace('/', "~1"))
    } else {
        "/cookies".to_owned()
    }
}

/// A base URL, held to every rule.
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
            "must name a host that this service allows",
        ))
    }
}

pub(super) fn no_object() -> ApiError {
    ApiError::InvalidSession(vec![fault("", "must be an object")])
}

pub(super) fn fault(pointer: impl Into<String>, detail: impl Into<String>) -> InvalidMember {
    InvalidMember {
        pointer: pointer.into(),
        detail: detail.into(),
    }
}
