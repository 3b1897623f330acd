//! Recognizes responses whose status is the fault of a site or of the client, and not of this
//! service.

use actix_web::HttpResponse;
use tee_session_auth_middleware::ProblemCode;

/// Marker in the extensions of a response that passes on the answer of a site.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FromSite;

/// Codes of problems that the site or the client has caused, although their status is 5xx or 401.
const CAUSED_OUTSIDE: [ProblemCode; 6] = [
    ProblemCode::UPSTREAM_UNREACHABLE,
    ProblemCode::UPSTREAM_FAILED,
    ProblemCode::UPSTREAM_TIMEOUT,
    ProblemCode::UPSTREAM_BUSY,
    ProblemCode::UPSTREAM_SESSION_EXPIRED,
    ProblemCode::NOT_IMPLEMENTED,
];

/// Returns `true` if the response passes on the answer of a site.
pub(crate) fn is_answer_of_site<B>(response: &HttpResponse<B>) -> bool {
    response.extensions().contains::<FromSite>()
}

/// Returns `true` if the response passes on the answer of a site, or is a problem that a site or a
/// client has caused. Metrics and logs must not count its status as an error of this service.
pub(crate) fn is_from_site<B>(response: &HttpResponse<B>) -> bool {
    let extensions = response.extensions();
    let problem = extensions.get::<ProblemCode>();
    is_answer_of_site(response) || problem.is_some_and(|code| CAUSED_OUTSIDE.contains(code))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tee_session_auth_middleware::ProblemDetails;

    use super::*;

    #[rstest]
    #[case::site_that_hangs(ProblemCode::UPSTREAM_BUSY, true)]
    #[case::site_that_breaks_off(ProblemCode::UPSTREAM_FAILED, true)]
    #[case::client_that_asks_for_a_websocket(ProblemCode::NOT_IMPLEMENTED, true)]
    #[case::login_that_is_over(ProblemCode::UPSTREAM_SESSION_EXPIRED, true)]
    #[case::too_many_requests(ProblemCode::OVERLOADED, false)]
    #[case::store(ProblemCode::STORE_UNAVAILABLE, false)]
    #[case::bug(ProblemCode::INTERNAL_ERROR, false)]
    #[case::unknown_token(ProblemCode::INVALID_TOKEN, false)]
    fn problem_that_a_site_or_a_client_has_caused_is_no_error_of_this_service(
        #[case] code: ProblemCode,
        #[case] expected: bool,
    ) {
        let problem = ProblemDetails::new(code, "detail").response();
        assert_eq!(is_from_site(&problem), expected);
    }
}
