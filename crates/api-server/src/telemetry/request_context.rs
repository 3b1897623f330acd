//! Labels and ids that identify a request in logs, metrics and traces.

use actix_web::{HttpMessage, dev::ServiceRequest, http::Method};
use opentelemetry::trace::SpanContext;
use tracing::Span;

use crate::{
    request::{accepted_id::AcceptedId, request_id::RequestId},
    routes::{self, Route},
    telemetry::log_context::LogContext,
};

/// Method label, route, id and exported span of a request, for logs, metrics and traces. The
/// extensions of the request contain the `RequestContext`.
pub(crate) struct RequestContext {
    pub(crate) method: &'static str,
    pub(crate) route: &'static Route,
    /// Id of the request, unless `accepted_id` contains another one.
    request_id: RequestId,
    /// Cell that may later contain the request id that the client set. `None` if `request_id`
    /// cannot change.
    accepted_id: Option<AcceptedId>,
    /// Root span in which the request id must still be recorded. `None` if there is no such span,
    /// or if `request_id` cannot change.
    unrecorded: Option<Span>,
    /// Trace id and span id of the exported root span. `None` if the request is not exported.
    pub(crate) span_context: Option<SpanContext>,
}

impl RequestContext {
    pub(crate) fn new(request: &ServiceRequest) -> Self {
        let route = routes::route_of(request.match_info().as_str());
        let given = RequestId::given(request.headers());
        let is_withheld = |id: &RequestId| route.has_token_in_form() && id.may_contain_token();
        let (request_id, accepted_id) = match given {
            Some(id) if is_withheld(&id) => {
                let accepted = AcceptedId::default();
                request
                    .extensions_mut()
                    .insert(AcceptedId::clone(&accepted));
                (RequestId::generate(), Some(accepted))
            }
            given => (given.unwrap_or_else(RequestId::generate), None),
        };
        Self {
            method: method_label(request.method()),
            route,
            request_id,
            accepted_id,
            unrecorded: None,
            span_context: None,
        }
    }

    /// Returns the id that the client set if `accepted_id` contains it, or else `request_id`. On a
    /// route whose form contains a token, the returned id can change when the form has been read.
    pub(crate) fn request_id(&self) -> &RequestId {
        let accepted = self.accepted_id.as_ref().and_then(|id| id.get());
        accepted.unwrap_or(&self.request_id)
    }

    /// Returns the id of the request if it cannot change.
    pub(crate) fn final_id(&self) -> Option<&RequestId> {
        self.accepted_id.is_none().then_some(&self.request_id)
    }

    /// Records the request id in `span`, the root span of the request, when this context is
    /// dropped. Does nothing if the id cannot change, because `span` then already contains it.
    pub(crate) fn record_id_on_drop(&mut self, span: &Span) {
        self.unrecorded = self.accepted_id.is_some().then(|| span.clone());
    }

    /// Returns the fields of the request for log lines.
    pub(crate) fn log_context(&self) -> LogContext {
        LogContext {
            method: self.method,
            route: self.route.path,
            request_id: self.request_id().clone(),
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

impl Drop for RequestContext {
    // An exporter keeps every recorded value, so the id is recorded once, when it can no longer
    // change. This includes requests that panic or whose client disconnects.
    fn drop(&mut self) {
        if let Some(span) = &self.unrecorded {
            span.record("request_id", self.request_id().as_str());
        }
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
