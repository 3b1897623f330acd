//! Middleware that limits the number of invalid tokens of each client. The limit slows down clients
//! that guess tokens.

use std::{
    future::{Ready, ready},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

use actix_web::{
    Error, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::Method,
    web::Data,
};
use futures_util::future::LocalBoxFuture;
use tee_session_domain::{LogLimit, SessionManager, SessionRepository};

use crate::{AuthError, BearerToken, InvalidTokenLimiter, ProblemCode};

static REFUSALS: LogLimit = LogLimit::per_second(1);

/// Middleware that limits the number of invalid tokens of each client. If a client is over the
/// limit, its requests with invalid tokens are answered with 429 and `Retry-After`.
///
/// Wrap this middleware around [`BearerAuth`](crate::BearerAuth), or around handlers that take
/// [`BearerToken`]. A request with a valid token is always let through, even if the client is over
/// the limit.
///
/// While a client is over the limit, each of its well-formed tokens is looked up before the request
/// is passed on. The look-up does not renew the idle timeout and writes no log line. A request with
/// a valid token then needs a second round trip to the store.
///
/// ```
/// use std::{num::NonZeroU32, sync::Arc};
/// use actix_web::{App, HttpResponse, web};
/// use tee_session_auth_middleware::{
///     BearerAuth, InvalidTokenLimit, InvalidTokenLimiter, LimitInvalidTokens, TrustedProxies,
/// };
/// use tee_session_domain::{SessionManager, SessionPolicy};
/// use tee_session_memory_adapter::MemoryRepository;
///
/// let (rate, burst) = (NonZeroU32::new(100).unwrap(), NonZeroU32::new(300).unwrap());
/// let limit = InvalidTokenLimit::per_second(rate, burst);
/// let limiter = Arc::new(InvalidTokenLimiter::new(limit, TrustedProxies::default()));
/// let sessions = SessionManager::new(MemoryRepository::default(), SessionPolicy::default());
/// let sessions = web::Data::new(sessions);
/// let members = web::resource("/members")
///     .route(web::get().to(HttpResponse::Ok).wrap(BearerAuth::new(sessions.clone())))
///     .wrap(LimitInvalidTokens::new(sessions, limiter));
/// let app = App::new().service(members);
/// ```
pub struct LimitInvalidTokens<R> {
    sessions: Data<SessionManager<R>>,
    limiter: Option<Arc<InvalidTokenLimiter>>,
    outcome: Option<&'static str>,
}

impl<R: SessionRepository> LimitInvalidTokens<R> {
    /// Creates the middleware. `limiter` counts the invalid tokens of each client, and `sessions`
    /// is used to look up tokens. If `limiter` is `None`, all requests are let through.
    pub fn new(
        sessions: Data<SessionManager<R>>,
        limiter: impl Into<Option<Arc<InvalidTokenLimiter>>>,
    ) -> Self {
        Self {
            sessions,
            limiter: limiter.into(),
            outcome: None,
        }
    }

    /// Adds the member `outcome` to the problem details of each request that this middleware
    /// answers with 429. `outcome` is the value of the member. For example, a gateway uses
    /// `not_sent`, because it does not send such a request to the site.
    #[must_use]
    pub fn with_outcome(mut self, outcome: &'static str) -> Self {
        self.outcome = Some(outcome);
        self
    }
}

impl<R> Clone for LimitInvalidTokens<R> {
    fn clone(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
            limiter: self.limiter.clone(),
            outcome: self.outcome,
        }
    }
}

impl<S, B, R> Transform<S, ServiceRequest> for LimitInvalidTokens<R>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    R: SessionRepository,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = LimitInvalidTokensService<S, R>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, next: S) -> Self::Future {
        ready(Ok(LimitInvalidTokensService {
            next: Rc::new(next),
            limit: self.clone(),
        }))
    }
}

/// Service that the middleware [`LimitInvalidTokens`] puts around an inner service.
pub struct LimitInvalidTokensService<S, R> {
    next: Rc<S>,
    limit: LimitInvalidTokens<R>,
}

impl<S, B, R> Service<ServiceRequest> for LimitInvalidTokensService<S, R>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    R: SessionRepository,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(next);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let next = Rc::clone(&self.next);
        let limiter = self.limit.limiter.clone();
        let limited =
            limiter.and_then(|limiter| Some((limiter.client_of(request.request())?, limiter)));
        let sessions = self.limit.sessions.clone();
        let outcome = self.limit.outcome;
        Box::pin(async move {
            let Some((client, limiter)) = limited else {
                let response = next.call(request).await?;
                return Ok(response.map_into_left_body());
            };
            if limiter.is_exhausted(client)
                && !may_be_repetition(&request)
                // The future of `is_invalid` is boxed, because it is large and would enlarge the
                // future of every request.
                && Box::pin(is_invalid(&sessions, &request)).await
            {
                let response = refusal(client, outcome).map_into_right_body();
                return Ok(request.into_response(response));
            }
            let response = next.call(request).await?;
            // The inner service has already looked up the token. The problem code of the response
            // shows whether the token is invalid, so no second look-up is needed.
            if is_invalid_token(&response) && !limiter.take(client) {
                let response = response.into_response(refusal(client, outcome));
                return Ok(response.map_into_right_body());
            }
            Ok(response.map_into_left_body())
        })
    }
}

/// Returns `true` if the request may repeat a rotation. The rotation has invalidated the token, so
/// a legitimate repetition has an invalid token. Only the inner service can recognize a repetition.
fn may_be_repetition(request: &ServiceRequest) -> bool {
    request.method() == Method::POST && request.headers().contains_key("idempotency-key")
}

/// Returns `true` if the request's token has no valid session.
///
/// Returns `false` if the token is valid, and also if the check fails for another reason, such as a
/// missing token or an unavailable store. In these cases, the inner service answers the request.
async fn is_invalid<R: SessionRepository>(
    sessions: &SessionManager<R>,
    request: &ServiceRequest,
) -> bool {
    match BearerToken::of(request.request()) {
        Ok(BearerToken(token)) => match sessions.exists(&token).await {
            Ok(exists) => !exists,
            Err(error) => error.proves_invalid_token(),
        },
        Err(error) => matches!(error, AuthError::InvalidToken),
    }
}

fn is_invalid_token<B>(response: &ServiceResponse<B>) -> bool {
    let extensions = response.response().extensions();
    extensions.get() == Some(&ProblemCode::INVALID_TOKEN)
}

/// Returns the response with status 429. Logs the refusal, at most one line per second.
fn refusal(client: IpAddr, outcome: Option<&'static str>) -> HttpResponse {
    REFUSALS.log(|unlogged| {
        tracing::warn!(
            client_network = %client,
            unlogged,
            "Client exceeded the limit of invalid tokens: answered with 429"
        );
    });
    let problem = AuthError::TooManyInvalidTokens.problem();
    match outcome {
        Some(outcome) => problem.with_outcome(outcome).response(),
        None => problem.response(),
    }
}
