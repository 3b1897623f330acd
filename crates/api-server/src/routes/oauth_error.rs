//! Errors of the endpoints that OAuth 2.0 clients use: problem details with the member `error`.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use tee_session_auth_middleware::ProblemDetails;
use thiserror::Error;

use crate::problem::ApiError;

/// A request to introspect or revoke a token cannot be served.
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

/// The names of RFC 6749, sections 4.1.2.1 and 5.2.
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
