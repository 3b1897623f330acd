//! Export of traces: sends the spans of sampled requests to a trace collector (OTLP over HTTP).

mod exporter;

use std::time::Duration;

use anyhow::Context;
use opentelemetry::{Key, KeyValue, global, trace::TracerProvider};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tee_session_api_server::{BoxedLayer, REQUEST_SPAN, UNEXPORTED_REQUEST_SPAN};
use tracing::{Metadata, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{Layer, Registry, filter::DynFilterFn, layer::Filter};

use self::exporter::CountedExporter;
use crate::settings::TraceSettings;

const NAME: &str = env!("CARGO_PKG_NAME");

/// Exporter of trace spans. A separate thread sends the recorded spans to the trace collector in
/// batches, every few seconds. If the collector is slow or unavailable, spans are dropped, but no
/// request waits for the collector.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts the export of spans. The trace collector does not have to be available at this time.
    /// Returns an error if the exporter cannot be created.
    pub(crate) fn start(settings: &TraceSettings) -> anyhow::Result<Self> {
        let exporter = CountedExporter::new(settings).context("traces cannot be exported")?;
        // If a request has the header `traceparent`, the span of the request becomes a child of the
        // span that this header names.
        global::set_text_map_propagator(TraceContextPropagator::new());
        let provider = SdkTracerProvider::builder()
            // The sampling decision is made when a request arrives. The filter of `layer` then
            // drops the spans of requests that are not sampled.
            .with_sampler(Sampler::AlwaysOn)
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        Ok(Self { provider })
    }

    /// Returns the `tracing` layer that passes the spans of sampled requests to the exporter.
    pub(crate) fn layer(&self) -> BoxedLayer {
        tracing_opentelemetry::layer::<Registry>()
            .with_tracer(self.provider.tracer(NAME))
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(exported_spans())
            .boxed()
    }

    /// Exports the remaining spans. If the export fails or takes longer than `timeout`, logs a
    /// warning.
    pub(crate) fn shut_down(self, timeout: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(timeout) {
            tracing::warn!(%error, "The last spans may not have been exported");
        }
    }
}

/// Returns a filter that enables only the spans of the `tee_session` crates. Spans of libraries are
/// disabled, also those of the libraries that send the spans. If a request is a health probe or is
/// not sampled, all its spans are disabled.
fn exported_spans() -> impl Filter<Registry> {
    let is_ours = |metadata: &Metadata<'_>| {
        metadata.is_span()
            && metadata.target().starts_with("tee_session")
            && metadata.name() != UNEXPORTED_REQUEST_SPAN
    };
    DynFilterFn::new(move |metadata, context| {
        // `lookup_current` skips spans that this filter has disabled.
        is_ours(metadata) && (metadata.name() == REQUEST_SPAN || context.lookup_current().is_some())
    })
    .with_callsite_filter(move |metadata| match is_ours(metadata) {
        true if metadata.name() == REQUEST_SPAN => Interest::always(),
        true => Interest::sometimes(),
        false => Interest::never(),
    })
    .with_max_level_hint(LevelFilter::DEBUG)
}

/// Returns the OpenTelemetry resource: the attributes that describe the service to the collector.
/// The environment variable `OTEL_SERVICE_NAME` overrides the name of the service.
/// `OTEL_RESOURCE_ATTRIBUTES` adds attributes, such as the name of the pod, and can also override
/// the name of the service.
fn resource() -> Resource {
    // If no service name is configured, the SDK sets a name that begins with `unknown_service`.
    let given = Resource::builder().build().get(&Key::new("service.name"));
    let given = given.map(|name| name.to_string());
    let name = given.filter(|name| !name.starts_with("unknown_service"));
    Resource::builder()
        .with_service_name(name.unwrap_or_else(|| NAME.to_owned()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}
