//! Traces: the spans of recorded requests, sent to a collector (OTLP over HTTP).

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

/// Sends what is recorded, a batch every few seconds, from a thread of its own: a collector that is
/// slow or away costs spans, and no request waits for it.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Sets up what sends. The collector need not be there.
    pub(crate) fn start(settings: &TraceSettings) -> anyhow::Result<Self> {
        let exporter = CountedExporter::new(settings).context("traces cannot be exported")?;
        // Requests are children of their callers' spans.
        global::set_text_map_propagator(TraceContextPropagator::new());
        let provider = SdkTracerProvider::builder()
            // Requests are sampled as they arrive; the spans of others do not get here.
            .with_sampler(Sampler::AlwaysOn)
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        Ok(Self { provider })
    }

    /// What hears of the spans.
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

    /// Sends what is left, for so long at most.
    pub(crate) fn end(self, within: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(within) {
            tracing::warn!(%error, "The last spans may not have been exported");
        }
    }
}

/// Enables the spans of this project: what the libraries do, this exporter among them, is part of no
/// trace. The root span of a request that is not exported is disabled, and so is all below it.
fn exported_spans() -> impl Filter<Registry> {
    let is_ours = |metadata: &Metadata<'_>| {
        metadata.is_span()
            && metadata.target().starts_with("tee_session")
            && metadata.name() != UNEXPORTED_REQUEST_SPAN
    };
    DynFilterFn::new(move |metadata, context| {
        // The filter's own context holds no span that it disabled.
        is_ours(metadata) && (metadata.name() == REQUEST_SPAN || context.lookup_current().is_some())
    })
    .with_callsite_filter(move |metadata| match is_ours(metadata) {
        true if metadata.name() == REQUEST_SPAN => Interest::always(),
        true => Interest::sometimes(),
        false => Interest::never(),
    })
    .with_max_level_hint(LevelFilter::INFO)
}

/// What sends the spans. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` may call it otherwise, and say
/// more, where it runs say.
fn resource() -> Resource {
    let given = Resource::builder().build().get(&Key::new("service.name"));
    let given = given.map(|name| name.to_string());
    let name = given.filter(|name| !name.starts_with("unknown_service"));
    Resource::builder()
        .with_service_name(name.unwrap_or_else(|| NAME.to_owned()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}
