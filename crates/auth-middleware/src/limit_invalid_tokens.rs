//! The middleware that slows down whoever guesses tokens.

use std::{
    future::{Ready, ready},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

use actix_web::{
    Error, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    web::Data,
};
use futures_util::future::LocalBoxFuture;
use tee_session_domain::{RepositoryError, SessionError, SessionManager, SessionRepository};

use crate::{
    AuthError, BearerToken, InvalidTokenLimiter, ProblemCode, error::INVALID_TOKEN,
    failure_log::FailureLog,
};

static REFUSALS: FailureLog = FailureLog::new();

/// Answers a client's invalid tokens with 429 and `Retry-After` once there are too many of them.
///
/// Wrap it around what answers invalid tokens: [`BearerAuth`](crate::BearerAuth), or handlers
/// that take [`BearerToken`]. It limits answers and log lines, not people: a token that opens a
/// session is let through however many others came from the same address. Of a client over its
/// limit each well-formed token is looked up first, without sliding and without a line in the
/// log; so a valid one costs a second round trip to the store then.
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
}

impl<R: SessionRepository> LimitInvalidTokens<R> {
    /// Middleware that holds clients to the limit of `limiter`, and looks tokens up with
    /// `sessions`. Without a limiter it lets everything through.
    pub fn new(
        sessions: Data<SessionManager<R>>,
        limiter: impl Into<Option<Arc<InvalidTokenLimiter>>>,
    ) -> Self {
        Self {
            sessions,
            limiter: limiter.into(),
        }
    }
}

impl<R> Clone for LimitInvalidTokens<R> {
    fn clone(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
            limiter: self.limiter.clone(),
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

/// The service that [`LimitInvalidTokens`] makes.
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
        let limited = limiter.and_then(|limiter| Some((limiter.client_of(&request)?, limiter)));
        let sessions = self.limit.sessions.clone();
        Box::pin(async move {
            let Some((client, limiter)) = limited else {
                let response = next.call(request).await?;
                return Ok(response.map_into_left_body());
            };
            if limiter.is_exhausted(client)
                // Boxed: it is large, and all requests would carry room for it.
                && Box::pin(is_invalid(&sessions, &request)).await
            {
                let response = refusal(client).map_into_right_body();
                return Ok(request.into_response(response));
            }
            let response = next.call(request).await?;
            if is_invalid_token(&response) && !limiter.take(client) {
                let response = response.into_response(refusal(client));
                return Ok(response.map_into_right_body());
            }
            Ok(response.map_into_left_body())
        })
    }
}

/// Whether the request's token opens nothing. Whatever else may be wrong is for others to say,
/// the store's being away above all.
async fn is_invalid<R: SessionRepository>(
    sessions: &SessionManager<R>,
    request: &ServiceRequest,
) -> bool {
    match BearerToken::of(request.request()) {
        Ok(BearerToken(token)) => matches!(
            sessions.exists(&token).await,
            Ok(false) | Err(SessionError::Repository(RepositoryError::Corrupt { .. }))
        ),
        Err(error) => matches!(error, AuthError::InvalidToken),
    }
}

fn is_invalid_token<B>(response: &ServiceResponse<B>) -> bool {
    let extensions = response.response().extensions();
    extensions.get() == Some(&ProblemCode(INVALID_TOKEN))
}

/// The answer; of many one line a second is logged.
fn refusal(client: IpAddr) -> actix_web::HttpResponse {
    if let Some(unlogged) = REFUSALS.next() {
        tracing::warn!(
            client_network = %client,
            unlogged,
            "Invalid tokens of this client are over the limit: answered with 429"
        );
    }
    AuthError::TooManyInvalidTokens.error_response()
}
