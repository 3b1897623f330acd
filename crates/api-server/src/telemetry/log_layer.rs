//! The layer that logs, and the choice of events and spans for it.

use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Context, Filter},
};

use crate::{
    root_span::{REQUEST_SPAN, UNEXPORTED_REQUEST_SPAN},
    telemetry::BoxedLayer,
};

/// Passes events to a layer that formats them. Spans are kept from it: it would format the fields
/// of each, also for the many requests that log nothing.
pub(crate) struct LogLayer(pub(crate) BoxedLayer);

impl Layer<Registry> for LogLayer {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, Registry>) {
        self.0.on_event(event, context);
    }
}

/// Events of this project from a level on, warnings of the libraries, and the root spans of requests,
/// which hold fields of log lines.
///
/// Its decisions never change, so a call site asks once. It filters for one layer among several, or
/// for all of them as a layer: then no span needs to be looked up in order to know who filtered it.
pub(crate) struct LogFilter(Targets);

impl LogFilter {
    pub(crate) fn new(level: LevelFilter) -> Self {
        let targets = Targets::new()
            .with_default(level.min(LevelFilter::WARN))
            .with_target("tee_session", level)
            // It logs an error for each request that it cannot read: as many as a client likes.
            .with_target("actix_http", LevelFilter::OFF);
        Self(targets)
    }

    fn is_enabled(&self, metadata: &Metadata<'_>) -> bool {
        let (target, level) = (metadata.target(), metadata.level());
        let is_logged = self.0.would_enable(target, level);
        is_logged
            && (metadata.is_event()
                || [REQUEST_SPAN, UNEXPORTED_REQUEST_SPAN].contains(&metadata.name()))
    }

    fn interest(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.is_enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level(&self) -> Option<LevelFilter> {
        Filter::<Registry>::max_level_hint(&self.0)
    }
}

impl<S> Filter<S> for LogFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.is_enabled(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.interest(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.max_level()
    }
}

impl<S: Subscriber> Layer<S> for LogFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.is_enabled(metadata)
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.interest(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.max_level()
    }
}
