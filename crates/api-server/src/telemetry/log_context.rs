//! Fields of a request that are added to each log line of the request.

use opentelemetry::TraceId;
use serde::{Serialize, Serializer};
use tracing::Span;
use tracing_subscriber::{
    Registry,
    registry::{LookupSpan, SpanData},
};

use crate::request::{request_id::RequestId, service_client::ClientId};

/// Request fields of a log line: the method, the route and the request id. The trace id is included
/// if the root span of the request is exported. The id of the service client is included if a
/// service client sent the request.
///
/// The path, the query and the headers of the request are not logged, because they may contain
/// secrets.
#[derive(Debug, Serialize)]
pub(crate) struct LogContext {
    pub(crate) method: &'static str,
    pub(crate) route: &'static str,
    pub(crate) request_id: RequestId,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub(crate) trace_id: Option<TraceId>,
    /// Id of the service client that sent the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_client: Option<ClientId>,
}

fn as_text<S: Serializer>(id: &Option<TraceId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&id.unwrap_or(TraceId::INVALID))
}

impl LogContext {
    /// Adds the id of a service client to the request fields of `span`, the root span of a request.
    pub(crate) fn set_service_client(span: &Span, id: ClientId) {
        Self::change(span, |context| context.service_client = Some(id));
    }

    /// Replaces the request id in the request fields of `span`, the root span of a request.
    pub(crate) fn set_request_id(span: &Span, id: RequestId) {
        Self::change(span, |context| context.request_id = id);
    }

    fn change(span: &Span, change: impl FnOnce(&mut Self)) {
        span.with_subscriber(|(span_id, subscriber)| {
            let registry = subscriber.downcast_ref::<Registry>();
            if let Some(span) = registry.and_then(|registry| registry.span_data(span_id))
                && let Some(context) = span.extensions_mut().get_mut::<Self>()
            {
                change(context);
            }
        });
    }

    /// Stores the fields in the extensions of `span`. The fields are formatted only when a line is
    /// logged, because most requests log nothing.
    pub(crate) fn attach_to(self, span: &Span) {
        span.with_subscriber(|(id, subscriber)| {
            let registry = subscriber.downcast_ref::<Registry>();
            if let Some(span) = registry.and_then(|registry| registry.span_data(id)) {
                span.extensions_mut().replace(self);
            }
        });
    }
}
