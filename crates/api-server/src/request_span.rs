//! The span of a request: the root of what is recorded of it, or a child of its caller's span.

use actix_web::http::{
    StatusCode,
    header::{HeaderMap, HeaderValue},
};
use opentelemetry::{
    Context, TraceId,
    trace::{SpanContext, TraceContextExt},
};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{trace_context, trace_sampling::TraceSampling};

/// The name of a request's span among the spans of `tracing`; its name in traces is its method and
/// route. All other spans of this project are below one.
pub const REQUEST_SPAN: &str = "request";

/// One request's span; without anything in it when the request is not recorded.
pub(crate) struct RequestSpan {
    span: Span,
    context: Option<Box<SpanContext>>,
}

impl RequestSpan {
    /// Probes are not recorded: they would be most of what there is to see.
    pub(crate) fn of(
        headers: &HeaderMap,
        method: &'static str,
        route: &'static str,
        request_id: &str,
        sampling: Option<&TraceSampling>,
    ) -> Self {
        let caller = || trace_context::caller(headers);
        let is_recorded = !route.starts_with("/health")
            && sampling.is_none_or(|sampling| sampling.records(caller().as_ref()));
        if !is_recorded {
            return Self::not_recorded();
        }
        let span = tracing::info_span!(
            REQUEST_SPAN,
            otel.name = format!("{method} {route}"),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = Empty,
            "error.type" = Empty,
            request_id,
        );
        if span.is_disabled() {
            return Self::not_recorded();
        }
        if let Some(caller) = caller() {
            // Whoever collects spans without OpenTelemetry knows no callers.
            let _ = span.set_parent(Context::new().with_remote_span_context(caller));
        }
        let context = span.context().span().span_context().clone();
        let context = context.is_valid().then(|| Box::new(context));
        Self { span, context }
    }

    fn not_recorded() -> Self {
        Self {
            span: Span::none(),
            context: None,
        }
    }

    /// For what is done for the request.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// By which it is found among the traces, if it is recorded.
    pub(crate) fn trace_id(&self) -> Option<TraceId> {
        self.context.as_ref().map(|context| context.trace_id())
    }

    /// What tells the caller which span answered.
    pub(crate) fn response_field(&self) -> Option<HeaderValue> {
        trace_context::response_field(self.context.as_ref()?)
    }

    /// Only what the service is to blame for is an error of the span of a server.
    pub(crate) fn answered(&self, status: StatusCode, problem: Option<&'static str>) {
        self.span
            .record("http.response.status_code", status.as_u16());
        if let Some(problem) = problem {
            self.span.record("error.type", problem);
        }
        if status.is_server_error() {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}
