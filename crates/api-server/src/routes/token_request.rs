//! A request about a token, by a service client.

use actix_web::{HttpRequest, web::Payload};
use tee_session_domain::SessionToken;

use crate::{
    body::TokenForm, oauth_error::OAuthError, request_body::read_form, service_client::Scope,
    settings::ApiSettings,
};

/// The token that a client with `scope` asks about; `None` if it is none of ours. A body of others is
/// not read.
pub(super) async fn asked_about(
    request: &HttpRequest,
    payload: Payload,
    settings: &ApiSettings,
    scope: Scope,
) -> Result<Option<SessionToken>, OAuthError> {
    settings.service_clients.authorize(request.head(), scope)?;
    let form = read_form(request, payload, settings.max_body_bytes).await?;
    Ok(TokenForm::parse(&form)?.token)
}
