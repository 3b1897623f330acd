//! The outermost middleware within a request's span: admission, metrics, and an answer in problem
//! details for every error.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use actix_web::{
    Error, HttpMessage, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        ConnectionType, StatusCode,
        header::{HeaderMap, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
    web::Data,
};
use futures_util::FutureExt;
use metrics::{Counter, Histogram, counter, histogram};

use crate::{
    bounded_stream::Connection,
    deadline::Deadline,
    lifecycle::Lifecycle,
    meters::Meters,
    oauth_error::OAuthError,
    problem::{ApiError, problem_of_status},
    request_id::REQUEST_ID_HEADER,
    request_limits,
    root_span::{RequestContext, problem_of},
    routes,
    settings::ApiSettings,
    trace_context::{self, TRACERESPONSE},
};

const INTERNAL_SERVER_ERROR: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

/// Paths whose answers are bearer resolutions.
const BEARER_PATHS: [&str; 4] = [
    routes::SESSION,
    routes::SESSION_TTL,
    routes::SESSION_ROTATE,
    routes::AUTHORIZE,
];

pub(crate) async fn observe(
    lifecycle: Data<Arc<Lifecycle>>,
    settings: Data<ApiSettings>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let _in_flight = lifecycle.request();
    let connection = request.conn_data::<Connection>().cloned();
    let _served = connection.as_ref().map(|c| c.serve(request.head()));
    let started = Instant::now();
    let context = RequestContext::take(&request);
    let RequestContext { method, route, .. } = context;
    let header_value = context.request_id.header_value();
    let deadline = Deadline((started + settings.answer_timeout).into());
    request.extensions_mut().insert(deadline);

    let admitted = admit(
        request.path(),
        lifecycle.in_flight(),
        settings.max_in_flight,
    )
    .and_then(|()| request_limits::check(request.request()));
    let response = match admitted {
        Ok(()) => {
            // The last resort for what should not happen: a panic is one failed request, and not
            // a connection that breaks without a word.
            let served = async { next.call(request).await };
            match AssertUnwindSafe(served).catch_unwind().await {
                Ok(served) => served?.map_into_boxed_body(),
                Err(_) => {
                    record(method, route, INTERNAL_SERVER_ERROR, started);
                    return Err(failure(header_value));
                }
            }
        }
        Err(error) if routes::speaks_oauth(route) => {
            request.into_response(OAuthError::from(error).error_response())
        }
        Err(error) => request.into_response(error.error_response()),
    };

    let mut response = with_problem(response);
    add_headers(response.headers_mut(), header_value);
    let span_context = context.span_context.as_ref();
    if let Some(field) = span_context.and_then(trace_context::response_field) {
        response.headers_mut().insert(TRACERESPONSE, field);
    }
    // Nobody knows when the rest of such a body comes, and what comes after it.
    let owes_body = connection.is_some_and(|connection| connection.owes_body());
    if owes_body || lifecycle.is_closing_connections() {
        response
            .response_mut()
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    let status = response.status();
    let problem = problem_of(&response);
    count(status, problem, method, route, started);
    Ok(response)
}

/// Turns away what is too much, before it costs anything. Probes are served all the same.
fn admit(path: &str, in_flight: usize, most: usize) -> Result<(), ApiError> {
    if in_flight <= most || path.starts_with("/health") {
        return Ok(());
    }
    counter!("tee_session_requests_shed_total").increment(1);
    Err(ApiError::Overloaded)
}

fn add_headers(headers: &mut HeaderMap, request_id: HeaderValue) {
    headers.insert(REQUEST_ID_HEADER, request_id);
    // Everything here is what it says it is, whatever a browser may make of it.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// The answer when the request is lost: an error of the framework's, which needs none to go with.
/// It ends the connection, of which nobody knows in what state it is.
fn failure(request_id: HeaderValue) -> Error {
    let mut response = problem_of_status(INTERNAL_SERVER_ERROR).response();
    add_headers(response.headers_mut(), request_id);
    response
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    InternalError::from_response("a request panicked", response).into()
}

/// Gives problem details to an error answer of the framework's own.
fn with_problem(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || problem_of(&response).is_some() {
        return response;
    }
    let (request, framework_response) = response.into_parts();
    let mut problem = problem_of_status(status);
    for (name, value) in framework_response.headers() {
        if name == actix_web::http::header::ALLOW {
            problem = problem.with_header(name.clone(), value.clone());
        }
    }
    ServiceResponse::new(request, problem.response())
}

fn count(
    status: StatusCode,
    problem: Option<&'static str>,
    method: &'static str,
    route: &'static str,
    started: Instant,
) {
    thread_local! {
        static RESOLUTIONS: Meters<&'static str, Counter> = const {
            Meters::new(|outcome| {
                counter!("tee_session_bearer_resolutions_total", "outcome" => outcome)
            })
        };
    }
    // A browser asks beforehand (CORS), without a token.
    let needs_token =
        BEARER_PATHS.contains(&route) && (method != "OPTIONS" || route == routes::AUTHORIZE);
    if needs_token && status != StatusCode::METHOD_NOT_ALLOWED {
        let outcome = problem.unwrap_or("resolved");
        RESOLUTIONS.with(|resolutions| resolutions.with(outcome, |counter| counter.increment(1)));
    }
    record(method, route, status, started);
}

fn record(method: &'static str, route: &'static str, status: StatusCode, started: Instant) {
    type Labels = (&'static str, &'static str, StatusCode);
    thread_local! {
        static DURATIONS: Meters<Labels, Histogram> = const {
            Meters::new(|(method, route, status)| {
                histogram!(
                    "tee_session_http_request_duration_seconds",
                    "method" => method,
                    "route" => route,
                    "status" => status.as_str().to_owned(),
                )
            })
        };
    }
    let labels = (method, route, status);
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
    use crate::root_span::RequestSpan;

    /// A middleware does some of its work before it gives a future.
    #[actix_web::test]
    async fn a_panic_before_there_is_anything_to_wait_for_is_one_failed_request() {
        let app = App::new()
            .app_data(Data::new(Arc::new(Lifecycle::new())))
            .app_data(Data::new(ApiSettings::default()))
            .wrap_fn(|request, _| -> Ready<Result<ServiceResponse, Error>> {
                match request.path() {
                    "/panics" => panic!("a bug"),
                    _ => ready(Ok(request.into_response(actix_web::HttpResponse::Ok()))),
                }
            })
            .wrap(from_fn(observe))
            .wrap(TracingLogger::<RequestSpan>::new());
        let app = init_service(app).await;
        let ask = |path| app.call(TestRequest::with_uri(path).to_request());
        let failed = ask("/panics").await.unwrap_err();
        let failed = failed.as_response_error().error_response();
        assert_eq!(failed.status(), INTERNAL_SERVER_ERROR);
        assert!(failed.headers().contains_key(REQUEST_ID_HEADER));
        assert_eq!(ask("/").await.unwrap().status(), StatusCode::OK);
    }
}
