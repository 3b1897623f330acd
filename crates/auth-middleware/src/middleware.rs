//! Middleware that authenticates requests by their bearer token.

use std::{
    future::{Ready, ready},
    rc::Rc,
};

use actix_web::{
    Error, HttpMessage, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    web::Data,
};
use futures_util::future::LocalBoxFuture;
use tee_session_domain::{SessionManager, SessionRepository};

use crate::{AuthError, BearerToken, CurrentSession};

/// Middleware that lets a request through only if its bearer token has a valid session, and renews
/// the idle timeout of the session. Handlers behind the middleware can take [`CurrentSession`].
///
/// ```
/// use actix_web::{App, web};
/// use tee_session_auth_middleware::{BearerAuth, CurrentSession};
/// use tee_session_domain::{SessionManager, SessionPolicy};
/// use tee_session_memory_adapter::MemoryRepository;
///
/// async fn members(session: CurrentSession) -> String {
///     session.session.base_url.as_str().to_owned()
/// }
///
/// let sessions = SessionManager::new(MemoryRepository::default(), SessionPolicy::default());
/// let auth = BearerAuth::new(web::Data::new(sessions));
/// let app = App::new().route("/members", web::get().to(members).wrap(auth));
/// ```
pub struct BearerAuth<R> {
    sessions: Data<SessionManager<R>>,
}

impl<R: SessionRepository> BearerAuth<R> {
    /// Creates the middleware. `sessions` is used to look up tokens.
    pub fn new(sessions: Data<SessionManager<R>>) -> Self {
        Self { sessions }
    }
}

impl<R> Clone for BearerAuth<R> {
    fn clone(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
        }
    }
}

impl<S, B, R> Transform<S, ServiceRequest> for BearerAuth<R>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    R: SessionRepository,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = BearerAuthService<S, R>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, next: S) -> Self::Future {
        ready(Ok(BearerAuthService {
            next: Rc::new(next),
            sessions: self.sessions.clone(),
        }))
    }
}

/// Service that the middleware [`BearerAuth`] puts around an inner service.
pub struct BearerAuthService<S, R> {
    next: Rc<S>,
    sessions: Data<SessionManager<R>>,
}

impl<S, B, R> Service<ServiceRequest> for BearerAuthService<S, R>
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
        let (next, sessions) = (Rc::clone(&self.next), self.sessions.clone());
        Box::pin(async move {
            match resolve(&sessions, &request).await {
                Ok(session) => {
                    request.extensions_mut().insert(session);
                    next.call(request)
                        .await
                        .map(ServiceResponse::map_into_left_body)
                }
                // The rejection is returned as a response and not as an error, so that outer
                // middleware can read the problem code of the response.
                Err(error) => {
                    let response = error.error_response().map_into_right_body();
                    Ok(request.into_response(response))
                }
            }
        })
    }
}

async fn resolve<R: SessionRepository>(
    sessions: &SessionManager<R>,
    request: &ServiceRequest,
) -> Result<CurrentSession, AuthError> {
    let BearerToken(token) = BearerToken::of(request.request())?;
    let active = sessions.get(&token).await?;
    Ok(CurrentSession::new(token, active))
}
