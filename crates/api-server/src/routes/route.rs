//! Declaration of routes: the type [`Route`], and a macro that generates the code for all routes
//! from one table.

/// A route of the API, with the properties that middleware reads.
#[derive(Debug)]
pub(crate) struct Route {
    /// Path, which is also the label of the route in logs and metrics. The last segment may be a
    /// parameter, such as `{session_id}`.
    pub(crate) path: &'static str,
    pub(super) credential: Credential,
    pub(super) errors: Errors,
    /// If `true`, the route also covers all paths below `path`. If `path` ends with a parameter,
    /// the route covers the path without the last segment and all paths below it.
    pub(super) covers_below: bool,
}

/// The credential that a route requires from its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential {
    /// The route requires the bearer token of a session.
    Bearer,
    /// The route requires the id and the secret of a service client.
    ServiceClient,
    None,
}

/// The format of the error responses of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Errors {
    ProblemDetails,
    /// Error responses are problem details with the member `error` of OAuth 2.0.
    OAuth,
}

impl Route {
    /// Route of all paths that are not part of the API. Logs and metrics contain `unmatched`
    /// instead of the path, so that clients cannot write arbitrary text into them.
    pub(super) const UNMATCHED: Self = Self {
        path: "unmatched",
        credential: Credential::None,
        errors: Errors::ProblemDetails,
        covers_below: false,
    };

    /// Returns `true` if the route requires a bearer token.
    pub(crate) fn requires_bearer_token(&self) -> bool {
        self.credential == Credential::Bearer
    }

    /// Returns `true` if error responses of the route have the member `error` of OAuth 2.0.
    pub(crate) fn uses_oauth_errors(&self) -> bool {
        self.errors == Errors::OAuth
    }

    /// Returns `true` if the request body is a form with a token. Exactly the routes of OAuth 2.0
    /// have such a form.
    pub(crate) fn has_token_in_form(&self) -> bool {
        self.uses_oauth_errors()
    }

    /// Returns `true` if `path`, the path of a request, belongs to the route.
    pub(super) fn covers(&self, path: &str) -> bool {
        if self.covers_below {
            let above = self
                .path
                .split_once("/{")
                .map_or(self.path, |(above, _)| above);
            let below = path.strip_prefix(above);
            return below.is_some_and(|below| below.is_empty() || below.starts_with('/'));
        }
        if path == self.path {
            return true;
        }
        if let Some((above, _parameter)) = self.path.split_once('{') {
            let segment = path.strip_prefix(above);
            return segment.is_some_and(|segment| !segment.is_empty() && !segment.contains('/'));
        }
        false
    }
}

/// Generates these items from one table of routes:
///
/// - `ROUTES`, the list of all routes with their credentials and error formats
/// - `Operations`, the OpenAPI description of all handlers
/// - `mount`, which registers each path as an Actix resource; for a method without a handler, the
///   resource answers 405 with an `Allow` header
///
/// A row names the path, the required credential and the format of errors, and then the methods
/// with their handlers. `Get` means `GET` and `HEAD`, and `Probe` means `GET`, `HEAD` and
/// `OPTIONS`. The path is a constant in the file of a handler, because the `#[utoipa::path]` of the
/// handler also needs it. `<R>` marks a handler that is generic over the repository.
/// `authenticated` marks a handler that requires `BearerAuth`. A row with
/// `(below: PATH => HANDLER)` also covers all paths under its own path. `HANDLER` serves `GET`
/// requests to `PATH`. `PATH` is not in the OpenAPI description.
///
/// The rows in `any_method` list no methods, because their routes accept every method, on their
/// path and on all paths under it. `mount` does not configure these routes.
macro_rules! routes {
    (
        $(#[$document:meta])+
        any_method {
            $($any_path_module:ident::$any_path:ident => $any_module:ident::$any_handler:ident;)+
        }
        $(
            $path_module:ident::$path:ident
            $((below: $below:literal => $below_module:ident::$below_handler:ident))?,
            $credential:ident, $errors:ident {
                $(
                    $method:ident => $module:ident::$handler:ident
                    $(<$repository:ident>)? $($authenticated:ident)?
                ),+ $(,)?
            }
        )+
    ) => {
        /// All routes of the API, with the required credential and the error format of each.
        pub(crate) static ROUTES: &[Route] = &[
            $(Route {
                path: $path_module::$path,
                credential: Credential::$credential,
                errors: Errors::$errors,
                covers_below: routes!(@covers_below $($below)?),
            },)+
            $(Route {
                path: $any_path_module::$any_path,
                credential: Credential::Bearer,
                errors: Errors::ProblemDetails,
                covers_below: true,
            },)+
        ];

        #[derive(OpenApi)]
        $(#[$document])+
        #[openapi(paths($($($module::$handler,)+)+ $($any_module::$any_handler,)+))]
        pub(crate) struct Operations;

        fn mount<R: SessionRepository>(
            api: &mut ServiceConfig,
            auth: &BearerAuth<Stored<R>>,
            limit: &LimitInvalidTokens<Stored<R>>,
        ) {
            $({
                let resource = web::resource($path_module::$path)
                    $(.route(routes!(
                        @route auth, $method, $module::$handler $(::<$repository>)?
                        $(, $authenticated)?
                    )))+
                    .default_service(not_allowed(
                        const { without_last_comma(concat!($(routes!(@allow $method)),+)) },
                        Errors::$errors,
                    ));
                routes!(@service $credential, api, resource, limit);
                $(api.service(
                    web::resource($below)
                        .route(routes!(@route auth, Get, $below_module::$below_handler))
                        .default_service(not_allowed("GET, HEAD", Errors::$errors)),
                );)?
            })+
        }
    };

    (@route $auth:ident, $method:ident, $handler:expr) => {
        web::route().guard(routes!(@guard $method)).to($handler)
    };
    (@route $auth:ident, $method:ident, $handler:expr, authenticated) => {
        routes!(@route $auth, $method, $handler).wrap($auth.clone())
    };

    (@covers_below) => { false };
    (@covers_below $below:literal) => { true };

    (@guard Get) => { guard::Any(guard::Get()).or(guard::Head()) };
    (@guard Probe) => { guard::Any(guard::Get()).or(guard::Head()).or(guard::Options()) };
    (@guard $method:ident) => { guard::$method() };

    (@allow Get) => { "GET, HEAD, " };
    (@allow Probe) => { "GET, HEAD, OPTIONS, " };
    (@allow Post) => { "POST, " };
    (@allow Patch) => { "PATCH, " };
    (@allow Delete) => { "DELETE, " };

    (@service Bearer, $api:ident, $resource:ident, $limit:ident) => {
        $api.service($resource.wrap($limit.clone()))
    };
    (@service $credential:ident, $api:ident, $resource:ident, $limit:ident) => {
        $api.service($resource)
    };
}

pub(super) use routes;
