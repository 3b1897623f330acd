//! The fields of a request that each of its log lines holds.

use opentelemetry::TraceId;
use serde::{Serialize, Serializer};
use tracing::Span;
use tracing_subscriber::{
    Registry,
    registry::{LookupSpan, SpanData},
};

use crate::{request_id::RequestId, root_span::RequestContext};

/// A request's method, route and id, and its trace if it is exported. It holds no path, query or
/// header field: they may hold what does not belong in a log.
#[derive(Debug, Serialize)]
pub(crate) struct LogContext {
    pub(crate) method: &'static str,
    pub(crate) route: &'static str,
    pub(crate) request_id: RequestId,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub(crate) trace_id: Option<TraceId>,
}

fn as_text<S: Serializer>(id: &Option<TraceId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&id.unwrap_or(TraceId::INVALID))
}

impl LogContext {
    pub(crate) fn of(context: &RequestContext) -> Self {
        Self {
            method: context.method,
            route: context.route,
            request_id: context.request_id.clone(),
            trace_id: context.span_context.as_ref().map(|span| span.trace_id()),
        }
    }

    /// Keeps the values with the span as they are. They are formatted when a line is logged; most
    /// requests log none.
    pub(crate) fn attach_to(self, span: &Span) {
        span.with_subscriber(|(id, subscriber)| {
            let registry = subscriber.downcast_ref::<Registry>();
            if let Some(span) = registry.and_then(|registry| registry.span_data(id)) {
                span.extensions_mut().replace(self);
            }
        });
    }
}
