//! Root spans of requests. tracing-actix-web enters the root span of a request whenever the request
//! is polled.

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    web::Data,
};
use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt},
};
use tee_session_auth_middleware::ProblemCode;
use tracing::{Span, field::Empty};
use tracing_actix_web::RootSpanBuilder;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    request::request_id::RequestId,
    routes::Route,
    settings::ApiSettings,
    telemetry::{request_context::RequestContext, trace_context},
    upstream::is_from_site,
};

/// Name of the root span of a request in `tracing` if the root span is exported.
///
/// In an exported trace, the name of the root span consists of the method and the route of the
/// request. All other spans of this project are descendants of the root span of a request.
pub const REQUEST_SPAN: &str = "request";

/// Name of the root span of a request in `tracing` if the root span is not exported, because the
/// request is a health probe or was not selected by sampling.
///
/// A layer that exports spans must ignore spans with this name and all their descendants.
pub const UNEXPORTED_REQUEST_SPAN: &str = "unexported request";

/// Creates a root span with the name `$name` and the fields of `$context`. Each name has its own
/// call site, so that filters decide once for each name and not for each request.
macro_rules! root_span {
    ($name:expr, $context:expr) => {
        // With the level `ERROR`, the span exists at every log level.
        tracing::error_span!(
            parent: None,
            $name,
            // The value of `otel.name` is formatted only if a layer exports the span.
            otel.name = format_args!("{} {}", $context.method, $context.route.path),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = $context.method,
            http.route = $context.route.path,
            http.response.status_code = Empty,
            "error.type" = Empty,
            // An id that may change is recorded at the end of the request.
            request_id = $context.final_id().map(RequestId::as_str),
        )
    };
}

/// Builder of the root spans of requests, for tracing-actix-web.
pub(crate) struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let mut context = RequestContext::new(request);
        let (is_exported, caller) = sample(request, context.route);
        let span = if is_exported {
            root_span!(REQUEST_SPAN, context)
        } else {
            root_span!(UNEXPORTED_REQUEST_SPAN, context)
        };
        if is_exported && !span.is_disabled() {
            context.span_context = export(&span, caller);
        }
        context.log_context().attach_to(&span);
        context.record_id_on_drop(&span);
        request.extensions_mut().insert(context);
        span
    }

    /// Records the status and the problem code of the response in the root span. The span is marked
    /// as an error only if this service caused a 5xx status. A 4xx status is the fault of the
    /// client. A status that a site has sent is not an error of this service.
    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let (status, problem, is_from_site) = match outcome {
            Ok(response) => {
                let is_from_site = is_from_site(response.response());
                (response.status(), problem_of(response), is_from_site)
            }
            Err(error) => {
                let status = error.as_response_error().status_code();
                let problem = status.is_server_error().then_some("internal_error");
                (status, problem, false)
            }
        };
        span.record("http.response.status_code", status.as_u16());
        if let Some(problem) = problem {
            span.record("error.type", problem);
        }
        if status.is_server_error() && !is_from_site {
            span.record("otel.status_code", "ERROR");
        }
        tracing::debug!(status = status.as_u16(), problem, "Request completed");
    }
}

/// Decides whether the root span of a request is exported, and reads the trace context from the
/// headers of the request. Health probes are not exported, because they would make up most of the
/// traces.
///
/// The trace context is `None` if the headers contain no valid trace context, or if the request has
/// a token in its form. A client might have put this token into the trace context. This cannot be
/// checked, because the form is read only after the root span was created.
fn sample(request: &ServiceRequest, route: &Route) -> (bool, Option<Context>) {
    if route.path.starts_with("/health") {
        return (false, None);
    }
    let caller = if route.has_token_in_form() {
        None
    } else {
        trace_context::caller(request.headers())
    };
    let settings = request.app_data::<Data<ApiSettings>>();
    let sampling = settings.and_then(|settings| settings.trace_sampling.as_ref());
    let is_sampled = sampling.is_none_or(|sampling| {
        let caller = caller.as_ref().map(|caller| caller.span());
        sampling.records(caller.as_ref().map(|span| span.span_context()))
    });
    (is_sampled, caller)
}

/// Makes `span` a child of `caller`, the trace context in the headers of the request. Returns the
/// trace id and span id of `span`, or `None` if no layer exports spans.
fn export(span: &Span, caller: Option<Context>) -> Option<SpanContext> {
    if let Some(caller) = caller {
        // `set_parent` fails if no layer exports spans. In that case, no parent is needed.
        let _ = span.set_parent(caller);
    }
    let context = span.context().span().span_context().clone();
    context.is_valid().then_some(context)
}

/// Returns the problem code of an error response. Returns `None` if the response has no problem
/// details.
pub(crate) fn problem_of<B>(response: &ServiceResponse<B>) -> Option<&'static str> {
    let extensions = response.response().extensions();
    extensions.get::<ProblemCode>().map(|code| code.name())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        fmt::Debug,
        sync::{Arc, Mutex},
    };

    use actix_web::{
        App, HttpRequest, HttpResponse,
        dev::Service,
        middleware::from_fn,
        test::{TestRequest, init_service},
        web,
    };
    use futures_util::{FutureExt, future::pending};
    use opentelemetry::global;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use rstest::rstest;
    use tracing::{
        Subscriber,
        field::{Field, Visit},
        span::{Attributes, Id, Record},
    };
    use tracing_actix_web::TracingLogger;
    use tracing_subscriber::{Layer, Registry, layer, layer::SubscriberExt};

    use super::*;
    use crate::{
        problem::HasOwnBody, request::accepted_id::accept_id, request::middleware::observe,
        routes::route_of, server::drain::Lifecycle, store::health_monitor::HealthMonitor,
        upstream::from_site::FromSite, upstream::gateway::SharedLimits,
    };

    #[derive(Default)]
    struct Fields(HashMap<&'static str, String>);

    impl Visit for Fields {
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name(), value.to_owned());
        }

        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.insert(field.name(), format!("{value:?}"));
        }
    }

    /// A `tracing` layer that records the names and fields of all spans.
    #[derive(Clone, Default)]
    struct Spans(Arc<Mutex<Vec<(&'static str, Fields)>>>);

    impl<S: Subscriber> Layer<S> for Spans {
        fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: layer::Context<'_, S>) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            let mut spans = self.0.lock().unwrap();
            spans.push((attributes.metadata().name(), fields));
        }

        fn on_record(&self, _: &Id, values: &Record<'_>, _: layer::Context<'_, S>) {
            values.record(&mut self.0.lock().unwrap().last_mut().unwrap().1);
        }
    }

    /// Handler whose response passes on a 502 answer of a site.
    async fn site() -> HttpResponse {
        let mut answer = HttpResponse::BadGateway().finish();
        answer.extensions_mut().insert(FromSite);
        answer.extensions_mut().insert(HasOwnBody);
        answer
    }

    async fn panics() -> HttpResponse {
        panic!("a bug")
    }

    /// Handler of a form with a token. Depending on the query, panics or does not respond after the
    /// form was read.
    async fn form(request: HttpRequest) -> HttpResponse {
        accept_id(&request, b"token=x");
        match request.query_string() {
            "panics" => panic!("a bug"),
            "hangs" => pending().await,
            _ => HttpResponse::Ok().finish(),
        }
    }

    /// Sends `GET path` with the request id `id`, and returns the name and the fields of the only
    /// span that the request created. If the handler does not respond at once, the client
    /// disconnects.
    async fn span_of(path: &str, id: &str) -> (&'static str, HashMap<&'static str, String>) {
        let spans = Spans::default();
        let subscriber = Registry::default().with(spans.clone());
        let _default = tracing::subscriber::set_default(subscriber);
        let app = App::new()
            .app_data(Data::new(Arc::new(Lifecycle::new())))
            .app_data(Data::new(ApiSettings::default()))
            .app_data(Data::new(Arc::new(HealthMonitor::new())))
            .app_data(Data::new(None::<SharedLimits>))
            .route("/v1/session", web::get().to(HttpResponse::Ok))
            .route("/health/live", web::get().to(HttpResponse::Ok))
            .route("/panics", web::get().to(panics))
            .route("/site", web::get().to(site))
            .route("/v1/introspect", web::get().to(form))
            .wrap(from_fn(observe))
            .wrap(TracingLogger::<RequestSpan>::new());
        let app = init_service(app).await;
        let request = TestRequest::with_uri(path).insert_header(("x-request-id", id));
        let _ = app.call(request.to_request()).now_or_never();
        let (name, fields) = spans.0.lock().unwrap().pop().unwrap();
        assert!(spans.0.lock().unwrap().is_empty());
        (name, fields.0)
    }

    #[rstest]
    #[case::success("/v1/session?a=s3cret", REQUEST_SPAN, "/v1/session", "200", None)]
    #[case::probe("/health/live", UNEXPORTED_REQUEST_SPAN, "/health/live", "200", None)]
    #[case::problem("/s3cret", REQUEST_SPAN, "unmatched", "404", Some("not_found"))]
    #[case::site("/site", REQUEST_SPAN, "unmatched", "502", None)]
    #[case::panic("/panics", REQUEST_SPAN, "unmatched", "500", Some("internal_error"))]
    #[actix_web::test]
    async fn root_span_contains_method_route_status_and_problem_code(
        #[case] path: &str,
        #[case] expected_name: &str,
        #[case] route: &str,
        #[case] status: &str,
        #[case] problem: Option<&str>,
    ) {
        let (name, fields) = span_of(path, "r-1").await;
        let field = |name| fields.get(name).map(String::as_str);
        assert_eq!(name, expected_name);
        assert_eq!(field("http.request.method"), Some("GET"));
        assert_eq!(field("http.route"), Some(route));
        assert_eq!(field("otel.name"), Some(&*format!("GET {route}")));
        assert_eq!(field("request_id"), Some("r-1"));
        assert_eq!(field("http.response.status_code"), Some(status));
        assert_eq!(field("error.type"), problem);
        let is_error = (status == "500").then_some("ERROR");
        assert_eq!(field("otel.status_code"), is_error);
        assert!(fields.values().all(|value| !value.contains("s3cret")));
    }

    #[rstest]
    #[case::response("/v1/introspect", true)]
    #[case::panic("/v1/introspect?panics", true)]
    #[case::disconnected_client("/v1/introspect?hangs", true)]
    #[case::form_not_read("/v1/revoke", false)]
    #[actix_web::test]
    async fn root_span_of_a_token_form_has_the_request_id_of_the_client_only_if_the_form_was_read(
        #[case] path: &str,
        #[case] is_accepted: bool,
    ) {
        let id = "5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f";
        let (_, fields) = span_of(path, id).await;
        let recorded = fields["request_id"].as_str();
        assert_eq!(recorded.len(), id.len());
        assert_eq!(recorded == id, is_accepted, "{recorded}");
    }

    #[rstest]
    #[case::token_in_the_header("/v1/session", true)]
    #[case::introspection("/v1/introspect", false)]
    #[case::revocation("/v1/revoke", false)]
    fn trace_context_of_a_request_with_a_token_in_its_form_is_ignored(
        #[case] path: &str,
        #[case] is_used: bool,
    ) {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let request = TestRequest::with_uri(path).insert_header(("traceparent", traceparent));
        let (_, caller) = sample(&request.to_srv_request(), route_of(path));
        assert_eq!(caller.is_some(), is_used);
    }
}
