//! Labels and ids that identify a request in logs, metrics and traces.

use actix_web::{HttpMessage, dev::ServiceRequest, http::Method};
use opentelemetry::trace::SpanContext;

use crate::{
    request::request_id::{RequestId, WithheldId},
    routes::{self, Route},
    telemetry::log_context::LogContext,
};

/// Method label, route, id and exported span of a request, for logs, metrics and traces. The
/// extensions of the request contain the `RequestContext`.
pub(crate) struct RequestContext {
    pub(crate) method: &'static str,
    pub(crate) route: &'static Route,
    pub(crate) request_id: RequestId,
    /// `true` if the request may get another id after its form was read: see [`WithheldId`].
    pub(crate) is_id_provisional: bool,
    /// Trace id and span id of the exported root span. `None` if the request is not exported.
    pub(crate) span_context: Option<SpanContext>,
}

impl RequestContext {
    pub(crate) fn new(request: &ServiceRequest) -> Self {
        let route = routes::route_of(request.match_info().as_str());
        let given = RequestId::given(request.headers());
        let is_id_provisional =
            route.has_token_in_form() && given.as_ref().is_some_and(RequestId::may_contain_token);
        let request_id = match given {
            Some(id) if is_id_provisional => {
                request.extensions_mut().insert(WithheldId(id));
                RequestId::generate()
            }
            given => given.unwrap_or_else(RequestId::generate),
        };
        Self {
            method: method_label(request.method()),
            route,
            request_id,
            is_id_provisional,
            span_context: None,
        }
    }

    /// Returns the fields of the request for log lines.
    pub(crate) fn log_context(&self) -> LogContext {
        LogContext {
            method: self.method,
            route: self.route.path,
            request_id: self.request_id.clone(),
            trace_id: self.span_context.as_ref().map(|span| span.trace_id()),
            service_client: None,
        }
    }

    /// Removes the context that `RequestSpan` stored in the extensions of the request, and returns
    /// this context. If no context is stored, creates a new context.
    pub(crate) fn take(request: &ServiceRequest) -> Self {
        let stored = request.extensions_mut().remove();
        stored.unwrap_or_else(|| Self::new(request))
    }
}

/// Returns the label of a request method in logs, metrics and traces. A client may send any method,
/// but a label must have few values. All unknown methods therefore have the label `other`.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
