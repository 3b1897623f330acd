//! Authentication of service clients, with the limit for wrong secrets.

use std::{net::IpAddr, sync::Arc};

use actix_web::{HttpRequest, http::header::AUTHORIZATION, web::Data};
use metrics::counter;
use tee_session_auth_middleware::InvalidTokenLimiter;
use tee_session_domain::LogLimit;
use tracing::Span;

use crate::{
    problem::ApiError,
    request::{scope::Scope, service_client::ClientId},
    settings::ApiSettings,
    telemetry::log_context::LogContext,
};

static WRONG_SECRETS: LogLimit = LogLimit::per_second(1);

/// Counts the wrong secrets of service clients for each client address. `None` means no limit. All
/// worker threads share one value.
pub(crate) struct WrongSecrets(pub(crate) Option<InvalidTokenLimiter>);

/// Checks that a request has the credentials of a service client with the scope `scope`. Returns
/// the id of that client, and adds the id to the log lines of the request.
///
/// If the credentials match no service client, a warning without the secret is logged, at most once
/// per second. If too many such requests come from one address, further requests with wrong
/// credentials are answered with 429. A correct secret is always accepted, so wrong secrets cannot
/// lock out a service client.
pub(crate) fn authenticate(
    request: &HttpRequest,
    settings: &ApiSettings,
    scope: Scope,
) -> Result<ClientId, ApiError> {
    let clients = &settings.service_clients;
    let authorized = clients.authorize(request.head(), scope);
    match authorized {
        Ok(_) | Err(ApiError::InsufficientScope(_)) => {
            if let Some(id) = clients.named_in(request.head()) {
                LogContext::set_service_client(&Span::current(), id);
            }
            authorized
        }
        // A request without credentials is not an attempt to guess a secret, so it is not counted.
        Err(ApiError::InvalidClient) if request.headers().contains_key(AUTHORIZATION) => {
            Err(refuse_wrong_secret(request, settings))
        }
        Err(error) => Err(error),
    }
}

fn refuse_wrong_secret(request: &HttpRequest, settings: &ApiSettings) -> ApiError {
    let limiter = request.app_data::<Data<Arc<WrongSecrets>>>();
    let limiter = limiter.and_then(|limiter| limiter.0.as_ref());
    let client = settings.trusted_proxies.client_network(request);
    counter!("tee_session_wrong_client_credentials_total").increment(1);
    WRONG_SECRETS.log(|unlogged| {
        // An unknown id is not logged, because a client may have sent the secret in place of the
        // id.
        let client_id = settings.service_clients.named_in(request.head());
        tracing::warn!(
            client_id = client_id.as_ref().map(ClientId::as_str),
            client_network = client.map(tracing::field::display),
            unlogged,
            "Wrong credentials of a service client"
        );
    });
    let is_over_limit = |(limiter, client): (&InvalidTokenLimiter, IpAddr)| !limiter.take(client);
    match limiter.zip(client).is_some_and(is_over_limit) {
        true => ApiError::TooManyWrongSecrets,
        false => ApiError::WrongClientCredentials,
    }
}
