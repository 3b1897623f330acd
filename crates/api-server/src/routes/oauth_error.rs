//! Errors of the OAuth 2.0 endpoints: problem details with the additional member `error`.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use tee_session_auth_middleware::ProblemDetails;
use thiserror::Error;

use crate::problem::ApiError;

/// Error of a request for token introspection or token revocation.
#[derive(Debug, Error)]
#[error(transparent)]
pub(crate) struct OAuthError(#[from] ApiError);

impl OAuthError {
    pub(crate) fn problem(&self) -> ProblemDetails {
        let problem = self.0.problem();
        let error = error_of(problem.status());
        problem.with_oauth_error(error)
    }
}

/// Returns the OAuth 2.0 error name for a status, as defined in RFC 6749, sections 4.1.2.1 and 5.2.
fn error_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "invalid_client",
        StatusCode::FORBIDDEN => "unauthorized_client",
        StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request",
    }
}

impl ResponseError for OAuthError {
    fn status_code(&self) -> StatusCode {
        self.0.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        self.0.log_failure();
        self.problem().response()
    }
}
