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

use crate::{AuthError, BearerToken, CurrentSession, extractor::Anonymous};

/// Middleware that lets a request through only if its bearer token has a valid session. Each such
/// request renews the idle timeout of the session. Handlers behind the middleware can take
/// [`CurrentSession`].
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
    options: Options,
}

#[derive(Clone, Copy, Default)]
struct Options {
    /// If `true`, the middleware lets requests without a token through.
    is_optional: bool,
    /// If `true`, the middleware does not check the query of the request for a token.
    ignores_query: bool,
}

impl<R: SessionRepository> BearerAuth<R> {
    /// Creates the middleware. `sessions` is used to look up tokens: a `Data` that the application
    /// also registers, or an `Arc`.
    pub fn new(sessions: impl Into<Data<SessionManager<R>>>) -> Self {
        Self {
            sessions: sessions.into(),
            options: Options::default(),
        }
    }

    /// Also lets requests without a bearer token through. The handlers of these requests get `None`
    /// as `Option<CurrentSession>`. A request with an invalid token is still rejected.
    ///
    /// ```
    /// # use actix_web::{App, web};
    /// # use tee_session_auth_middleware::{BearerAuth, CurrentSession};
    /// # use tee_session_domain::{SessionManager, SessionPolicy};
    /// # use tee_session_memory_adapter::MemoryRepository;
    /// # let sessions = SessionManager::new(MemoryRepository::default(), SessionPolicy::default());
    /// async fn start_page(session: Option<CurrentSession>) -> &'static str {
    ///     if session.is_some() { "welcome back" } else { "log in" }
    /// }
    ///
    /// let auth = BearerAuth::new(web::Data::new(sessions)).optional();
    /// let app = App::new().route("/", web::get().to(start_page).wrap(auth));
    /// ```
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.options.is_optional = true;
        self
    }

    /// Ignores the query of the request. Without this option, a request with a token in the header
    /// field `Authorization` and another token in the query (`access_token`) is rejected. A service
    /// that checks requests for a gateway needs this option, because the query belongs to another
    /// application.
    #[must_use]
    pub fn ignoring_query(mut self) -> Self {
        self.options.ignores_query = true;
        self
    }
}

impl<R> Clone for BearerAuth<R> {
    fn clone(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
            options: self.options,
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
            options: self.options,
        }))
    }
}

/// Service that the middleware [`BearerAuth`] puts around an inner service.
pub struct BearerAuthService<S, R> {
    next: Rc<S>,
    sessions: Data<SessionManager<R>>,
    options: Options,
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
        let options = self.options;
        Box::pin(async move {
            match resolve(&sessions, &request, options).await {
                Ok(session) => {
                    request.extensions_mut().insert(session);
                    next.call(request)
                        .await
                        .map(ServiceResponse::map_into_left_body)
                }
                Err(AuthError::MissingToken) if options.is_optional => {
                    request.extensions_mut().insert(Anonymous);
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
    options: Options,
) -> Result<CurrentSession, AuthError> {
    let BearerToken(token) = if options.ignores_query {
        BearerToken::from_headers(request.headers())?
    } else {
        BearerToken::of(request.request())?
    };
    let active = sessions.get(&token).await?;
    Ok(CurrentSession::new(token, active))
}
