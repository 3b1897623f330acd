//! The table of all routes of the API, and their registration in the web framework Actix Web.

mod admin;
pub(crate) mod authorize;
mod docs;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod health;
mod introspect;
pub(crate) mod oauth_error;
mod revoke;
pub(crate) mod route;
mod session;
mod session_cookies;
mod session_rotate;
mod sessions;
pub(crate) mod sessions_query;
mod static_file;
mod token_request;
pub(crate) mod upstream;

use std::sync::{Arc, LazyLock};

use actix_web::{
    Error, HttpRequest, HttpResponse, guard,
    http::{
        Method,
        header::{ACCEPT, HeaderValue, LOCATION},
    },
    web::{self, Data, ServiceConfig},
};
use tee_session_auth_middleware::{BearerAuth, InvalidTokenLimiter, LimitInvalidTokens};
use tee_session_domain::SessionRepository;
use tee_session_upstream::Outcome;
use utoipa::OpenApi;

pub(crate) use self::route::Route;
use self::{
    oauth_error::OAuthError,
    route::{Credential, Errors, routes},
    static_file::StaticFile,
};
use crate::{
    AllowedOrigins, openapi,
    problem::ApiError,
    store::sessions::{Sessions, Stored},
    upstream::Gateway,
};

// The order of the rows has two effects. First, the API description has the paths in this order.
// Clients begin with `POST /v1/sessions`, so this path comes first. Second, the framework tries the
// resources in this order. A path with a parameter is matched with a slow regular expression, so
// such paths come last.
routes! {
    #[openapi(
        info(
            title = "Tee Session",
            description = openapi::INTRODUCTION,
            license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        ),
        tags(
            (name = "Sessions", description = "For service clients: create, list and end sessions."),
            (name = "Session", description = "The session of the bearer token."),
            (name = "Upstream", description = "Requests to the site of the session."),
            (name = "Gateways", description = "Forward authentication."),
            (name = "Tokens", description = "OAuth 2.0 introspection and revocation."),
            (name = "Health", description = "Probes. They do not access the store."),
            (name = "About", description = "This description, and a page to try the API."),
        ),
    )]

    any_method {
        authorize::AUTHORIZE => authorize::authorize;
        upstream::UPSTREAM => upstream::call;
    }

    sessions::SESSIONS, ServiceClient, ProblemDetails {
        Get => admin::list<R>,
        Post => sessions::create<R>,
        Delete => admin::revoke_all<R>,
    }
    session::SESSION, Bearer, ProblemDetails {
        Get => session::show authenticated,
        Patch => session::update<R>,
        Delete => session::delete<R>,
    }
    session_cookies::SESSION_COOKIES, Bearer, ProblemDetails {
        Post => session_cookies::merge_cookies<R>,
    }
    session::SESSION_TTL, Bearer, ProblemDetails {
        Get => session::ttl<R>,
    }
    session_rotate::SESSION_ROTATE, Bearer, ProblemDetails {
        Post => session_rotate::rotate<R>,
    }
    introspect::INTROSPECT, ServiceClient, OAuth {
        Post => introspect::introspect<R>,
    }
    revoke::REVOKE, ServiceClient, OAuth {
        Post => revoke::revoke<R>,
    }
    health::HEALTH, None, ProblemDetails {
        Probe => health::health,
    }
    health::HEALTH_LIVE, None, ProblemDetails {
        Probe => health::live,
    }
    health::HEALTH_READY, None, ProblemDetails {
        Probe => health::ready,
    }
    docs::OPENAPI, None, ProblemDetails {
        Get => docs::description,
    }
    admin::SESSION_BY_ID, ServiceClient, ProblemDetails {
        Get => admin::show<R>,
        Delete => admin::revoke<R>,
    }
    docs::DOCS (below: "/docs/{name:[^/]*}" => docs::file), None, ProblemDetails {
        Get => docs::page,
    }
}

/// The OpenAPI description as `/openapi.json` serves it. It is generated at the first request.
static DESCRIPTION: LazyLock<StaticFile> = LazyLock::new(|| {
    StaticFile::new(
        "application/json",
        openapi::json(Operations::openapi(), ROUTES),
    )
});

/// Returns the route to which the path of a request belongs.
pub(crate) fn route_of(path: &str) -> &'static Route {
    let mut routes = ROUTES.iter();
    let route = routes.find(|route| route.covers(path));
    route.unwrap_or(&Route::UNMATCHED)
}

/// Configures the routes of all paths of the API. `HEAD` is answered like `GET`. Web pages of the
/// allowed origins may call every path except for `/v1/authorize` (which only gateways call) and
/// `/v1/upstream`. If `gateway` is `None`, requests for `/v1/upstream` are answered like requests
/// for unknown paths.
pub(crate) fn configure<R: SessionRepository>(
    sessions: Sessions<R>,
    limiter: Option<Arc<InvalidTokenLimiter>>,
    origins: &AllowedOrigins,
    gateway: Option<Gateway>,
) -> impl FnOnce(&mut ServiceConfig) {
    move |api| {
        if let Some(gateway) = gateway {
            // There is no CORS here, because pages of other origins must not read the answers of
            // sites.
            let limit = LimitInvalidTokens::new(sessions.clone(), limiter.clone())
                .with_outcome(Outcome::NotSent.as_str());
            let scope = web::scope(upstream::PREFIX)
                .app_data(Data::new(gateway))
                .app_data(sessions.clone());
            api.service(
                scope
                    .default_service(web::to(upstream::call::<R>))
                    .wrap(limit),
            );
        }
        // `/v1/authorize` has no CORS, because a gateway would take the response to a CORS
        // preflight for permission. `/v1/authorize` has no limit for invalid tokens either, because
        // the peer of the connection is the gateway and not the client that guesses tokens.
        api.service(
            // A scope of Actix matches all paths below `/v1/authorize` without a regular
            // expression.
            web::scope(authorize::AUTHORIZE)
                .default_service(web::to(authorize::authorize))
                .wrap(BearerAuth::new(sessions.clone()).ignoring_query()),
        );
        if origins.is_empty() {
            api.configure(all_but_authorize(sessions, limiter));
        } else {
            let others = web::scope("").configure(all_but_authorize(sessions, limiter));
            api.service(others.wrap(origins.middleware()));
        }
    }
}

fn all_but_authorize<R: SessionRepository>(
    sessions: Sessions<R>,
    limiter: Option<Arc<InvalidTokenLimiter>>,
) -> impl FnOnce(&mut ServiceConfig) {
    move |api| {
        let auth = BearerAuth::new(sessions.clone());
        let limit = LimitInvalidTokens::new(sessions.clone(), limiter);
        api.app_data(sessions).app_data(Data::new(&DESCRIPTION));
        mount(api, &auth, &limit);
        api.default_service(web::to(not_found));
    }
}

/// Builds the route that responds with 405 to methods that a path does not support. `allow` is the
/// value of the `Allow` header.
fn not_allowed(allow: &'static str, errors: Errors) -> actix_web::Route {
    web::to(move || async move {
        let error = ApiError::MethodNotAllowed { allow };
        Err::<HttpResponse, Error>(match errors {
            Errors::ProblemDetails => error.into(),
            Errors::OAuth => OAuthError::from(error).into(),
        })
    })
}

const fn without_last_comma(list: &str) -> &str {
    list.split_at(list.len() - ", ".len()).0
}

/// Answers requests for paths that are not part of the API. A browser that opens `/` is redirected
/// to the page `/docs`.
async fn not_found(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    if request.path() != "/" {
        return Err(ApiError::NotFound);
    }
    let is_get = [Method::GET, Method::HEAD].contains(request.method());
    let mut accepted = request.headers().get_all(ACCEPT);
    let is_browser = accepted.any(|field| {
        let field = field.to_str().unwrap_or_default();
        field.to_ascii_lowercase().contains("text/html")
    });
    if is_get && is_browser {
        // The location is relative, so that the redirection also works behind a proxy with a path
        // prefix.
        let redirection = (LOCATION, HeaderValue::from_static("docs"));
        return Ok(HttpResponse::Found().insert_header(redirection).finish());
    }
    Err(ApiError::NothingAtRoot)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::exact("/v1/session", session::SESSION)]
    #[case::parameter("/v1/sessions/k88fXCPKK0gU1YooURbm9Q", admin::SESSION_BY_ID)]
    #[case::empty_parameter("/v1/sessions/", "unmatched")]
    #[case::below_a_parameter("/v1/sessions/a/b", "unmatched")]
    #[case::below_authorize("/v1/authorize/members/42", authorize::AUTHORIZE)]
    #[case::path_of_a_site("/v1/upstream/members/42", upstream::UPSTREAM)]
    #[case::root_of_a_site("/v1/upstream/", upstream::UPSTREAM)]
    #[case::without_a_slash("/v1/upstream", upstream::UPSTREAM)]
    #[case::longer_than_upstream("/v1/upstreams", "unmatched")]
    #[case::longer_name("/v1/authorized", "unmatched")]
    #[case::docs_file("/docs/page.js", docs::DOCS)]
    #[case::unknown_docs_file("/docs/a/b", docs::DOCS)]
    #[case::below_another_path("/health/other", "unmatched")]
    fn route_of_a_request_is_found_by_its_path(#[case] path: &str, #[case] route: &str) {
        assert_eq!(route_of(path).path, route);
    }
}
