//! Reading of requests for token introspection and token revocation, which service clients send.

use actix_web::{HttpRequest, web::Payload};
use tee_session_domain::SessionToken;

use crate::{
    request::accepted_id::accept_id, request::bodies_under_way::Credential,
    request::body::read_form, request::caller::authenticate, request::scope::Scope,
    routes::oauth_error::OAuthError, settings::ApiSettings, wire::TokenForm,
};

/// Checks that the request has the credentials of a service client with the scope `scope`, then
/// reads the form in the request body, and returns the token in the form.
///
/// Returns `None` if the parameter `token` does not have the format of a session token.
pub(super) async fn token_in_request(
    request: &HttpRequest,
    payload: Payload,
    settings: &ApiSettings,
    scope: Scope,
) -> Result<Option<SessionToken>, OAuthError> {
    let caller = Credential::ServiceClient(authenticate(request, settings, scope)?);
    let form = read_form(request, payload, settings, caller).await?;
    let token = TokenForm::parse(&form)?.token;
    // In a malformed form, the token may be anywhere. The request then keeps its generated id.
    accept_id(request, &form);
    Ok(token)
}
