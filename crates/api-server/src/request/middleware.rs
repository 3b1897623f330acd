//! Outermost middleware within the root span of a request. Checks limits, records metrics, and adds
//! problem details to error responses that have none.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use actix_web::{
    Error, HttpMessage, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        ConnectionType, StatusCode,
        header::{ALLOW, HeaderMap, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
    web::Data,
};
use futures_util::FutureExt;
use metrics::{Counter, Histogram, counter, histogram};
use tee_session_auth_middleware::ProblemCode;
use tee_session_upstream::Outcome;

use crate::{
    metrics::cached::Meters,
    problem::{ApiError, HasOwnBody, problem_of_status},
    request::access_log::AccessLine,
    request::admission::admit,
    request::cors::{self, is_preflight},
    request::deadline::Deadline,
    request::request_id::REQUEST_ID_HEADER,
    routes::{Route, authorize::AUTHORIZE, oauth_error::OAuthError, upstream::UPSTREAM},
    server::drain::Lifecycle,
    settings::ApiSettings,
    store::health_monitor::HealthMonitor,
    telemetry::trace_context::{self, TRACERESPONSE},
    telemetry::{request_context::RequestContext, root_span::problem_of},
    upstream::{gateway::SharedLimits, is_answer_of_site, is_from_site},
};

const INTERNAL_SERVER_ERROR: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

pub(crate) async fn observe(
    lifecycle: Data<Arc<Lifecycle>>,
    settings: Data<ApiSettings>,
    monitor: Data<Arc<HealthMonitor>>,
    limits: Data<Option<SharedLimits>>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let _in_flight = lifecycle.request();
    let started = Instant::now();
    let context = RequestContext::take(&request);
    let RequestContext { method, route, .. } = context;
    let access = settings
        .access_log
        .then(|| AccessLine::new(&settings.trusted_proxies, &request, started));
    let deadline = Deadline((started + settings.answer_timeout).into());
    request.extensions_mut().insert(deadline);

    // Requests with a body that is still arriving have separate limits. They do not count here, so
    // that they cannot block requests that have arrived completely.
    let is_full = lifecycle.being_served() > settings.max_in_flight;
    let limits = limits.get_ref().as_ref();
    let limits = limits.filter(|_| route.path == UPSTREAM);
    let is_to_site = limits.is_some();
    let _to_site = limits.map(|_| lifecycle.gateway_request());
    // These two paths have no CORS: only gateways call `/v1/authorize`, and web pages must not read
    // the answers of sites.
    let origins = &settings.cors_allowed_origins;
    let has_cors = route.path != AUTHORIZE && !is_to_site && !origins.is_empty();
    let origin = has_cors.then(|| origins.allowed_origin_of(request.headers()));
    let origin = origin.flatten();
    let is_preflight = has_cors && is_preflight(request.method(), request.headers());
    let admitted = admit(&request, route, is_full, is_preflight, limits);
    let response = match admitted {
        Ok(()) => {
            // A panic must lead to a 500 response. Without `catch_unwind`, a panic would close the
            // connection without a response. The `async` block also covers a middleware that panics
            // before it returns a future.
            let served = async { next.call(request).await };
            match AssertUnwindSafe(served).catch_unwind().await {
                Ok(served) => served?.map_into_boxed_body(),
                Err(_) => {
                    let label = Label::Status(INTERNAL_SERVER_ERROR);
                    record(method, route, label, started);
                    if let Some(access) = access {
                        access.log(INTERNAL_SERVER_ERROR, false);
                    }
                    let id = context.request_id().header_value();
                    return Err(failure(id, origin, is_to_site));
                }
            }
        }
        Err(error) if route.uses_oauth_errors() => {
            request.into_response(OAuthError::from(error).error_response())
        }
        Err(error) if is_to_site => request.into_response(error.not_sent().error_response()),
        Err(error) => request.into_response(error.error_response()),
    };

    let mut response = with_problem(response);
    add_headers(response.headers_mut(), context.request_id().header_value());
    if let Some(origin) = origin {
        cors::allow_reading(response.headers_mut(), origin);
    }
    let span_context = context.span_context.as_ref();
    if let Some(field) = span_context.and_then(trace_context::response_field) {
        response.headers_mut().insert(TRACERESPONSE, field);
    }
    let status = response.status();
    let problem = problem_of(&response);
    let is_from_site = is_from_site(response.response());
    if problem == Some(ProblemCode::STORE_MISCONFIGURED.name()) {
        monitor.record_refused_request();
    }
    count(
        Label::of(status, is_from_site),
        problem,
        method,
        route,
        started,
    );
    if let Some(access) = access {
        access.log(status, is_answer_of_site(response.response()));
    }
    Ok(response)
}

fn add_headers(headers: &mut HeaderMap, request_id: HeaderValue) {
    headers.insert(REQUEST_ID_HEADER, request_id);
    // Every response has a correct `Content-Type`, so browsers need not guess the type.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Builds the 500 response to a request whose handler panicked.
///
/// The response is returned as an error of the framework. A `ServiceResponse` cannot be built,
/// because it requires the request, and the panic has consumed the request. The response closes the
/// connection, because the state of the connection is unknown. The problem of a request to a site
/// (`is_to_site`) has the outcome `unknown`, because the request may have been sent before the
/// panic.
fn failure(request_id: HeaderValue, origin: Option<HeaderValue>, is_to_site: bool) -> Error {
    let mut problem = problem_of_status(INTERNAL_SERVER_ERROR);
    if is_to_site {
        problem = problem.with_outcome(Outcome::Unknown.as_str());
    }
    let mut response = problem.response();
    add_headers(response.headers_mut(), request_id);
    if let Some(origin) = origin {
        cors::allow_reading(response.headers_mut(), origin);
    }
    response
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    InternalError::from_response("a request panicked", response).into()
}

/// If `response` is an error response with neither problem details nor a body of its own, such as
/// an error response of the framework, replaces it by a response with problem details. Returns
/// other responses unchanged.
fn with_problem(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let has_own_body = response.response().extensions().contains::<HasOwnBody>();
    if !is_error || has_own_body || problem_of(&response).is_some() {
        return response;
    }
    let (request, framework_response) = response.into_parts();
    let refusal = framework_response.error();
    let mut problem = match refusal.and_then(|error| error.as_error()) {
        Some(error) => ApiError::InvalidRequest(cors::rejection(error).to_owned()).problem(),
        None => problem_of_status(status),
    };
    for (name, value) in framework_response.headers() {
        if [ALLOW, VARY].contains(name) {
            problem = problem.with_header(name.clone(), value.clone());
        }
    }
    ServiceResponse::new(request, problem.response())
}

/// Label of a response in the histogram of request durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Label {
    Status(StatusCode),
    /// The response passes on the answer of a site, or reports a fault of the site. The status of
    /// such a response must not count as an error of this service.
    Site,
}

impl Label {
    fn of(status: StatusCode, is_from_site: bool) -> Self {
        if is_from_site {
            Self::Site
        } else {
            Self::Status(status)
        }
    }

    fn text(self) -> String {
        match self {
            Self::Status(status) => status.as_str().to_owned(),
            Self::Site => "site".to_owned(),
        }
    }
}

fn count(
    status: Label,
    problem: Option<&'static str>,
    method: &'static str,
    route: &'static Route,
    started: Instant,
) {
    thread_local! {
        static RESOLUTIONS: Meters<&'static str, Counter> = const {
            Meters::new(|outcome| {
                counter!("tee_session_bearer_resolutions_total", "outcome" => outcome)
            })
        };
    }
    // A CORS preflight (`OPTIONS`) has no token and is not counted. On `/v1/authorize`, `OPTIONS`
    // is the method of the original request and is counted.
    let needs_token =
        route.requires_bearer_token() && (method != "OPTIONS" || route.path == AUTHORIZE);
    // Most problems of the upstream gateway do not show whether the token is valid.
    let is_about_token =
        |code| ["missing_token", "invalid_token", "too_many_requests"].contains(&code);
    let says_nothing = route.path == UPSTREAM && !problem.is_none_or(is_about_token);
    let is_refused = status == Label::Status(StatusCode::METHOD_NOT_ALLOWED);
    if needs_token && !is_refused && !says_nothing {
        let outcome = problem.unwrap_or("resolved");
        RESOLUTIONS.with(|resolutions| resolutions.with(outcome, |counter| counter.increment(1)));
    }
    record(method, route, status, started);
}

fn record(method: &'static str, route: &'static Route, status: Label, started: Instant) {
    type Labels = (&'static str, &'static str, Label);
    thread_local! {
        static DURATIONS: Meters<Labels, Histogram> = const {
            Meters::new(|(method, route, status)| {
                histogram!(
                    "tee_session_http_request_duration_seconds",
                    "method" => method,
                    "route" => route,
                    "status" => status.text(),
                )
            })
        };
    }
    let labels = (method, route.path, status);
    DURATIONS.with(|durations| durations.with(labels, |time| time.record(started.elapsed())));
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use actix_web::{
        App,
        dev::Service,
        middleware::from_fn,
        test::{TestRequest, init_service},
    };

    use tracing_actix_web::TracingLogger;

    use super::*;
    use crate::telemetry::root_span::RequestSpan;

    /// Tests a panic that occurs in the call of a middleware, before the middleware returns a
    /// future.
    #[actix_web::test]
    async fn panic_in_a_middleware_call_returns_500_and_the_next_request_succeeds() {
        let app = App::new()
            .app_data(Data::new(Arc::new(Lifecycle::new())))
            .app_data(Data::new(ApiSettings::default()))
            .app_data(Data::new(Arc::new(HealthMonitor::new())))
            .app_data(Data::new(None::<SharedLimits>))
            .wrap_fn(|request, _| -> Ready<Result<ServiceResponse, Error>> {
                match request.path() {
                    "/panics" => panic!("a bug"),
                    _ => ready(Ok(request.into_response(actix_web::HttpResponse::Ok()))),
                }
            })
            .wrap(from_fn(observe))
            .wrap(TracingLogger::<RequestSpan>::new());
        let app = init_service(app).await;
        let send = |path| app.call(TestRequest::with_uri(path).to_request());
        let failed = send("/panics").await.unwrap_err();
        let failed = failed.as_response_error().error_response();
        assert_eq!(failed.status(), INTERNAL_SERVER_ERROR);
        assert!(failed.headers().contains_key(REQUEST_ID_HEADER));
        assert_eq!(send("/").await.unwrap().status(), StatusCode::OK);
    }
}
