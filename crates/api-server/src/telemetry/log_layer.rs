//! The `tracing` layer that passes events to the log formatter, and the filter that selects these
//! events.

use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Context, Filter},
};

use crate::telemetry::root_span::{REQUEST_SPAN, UNEXPORTED_REQUEST_SPAN};

/// Target of the log events of the access log. The setting `access_log` enables these events,
/// regardless of the log level.
pub(crate) const ACCESS_LOG: &str = "tee_session_access_log";

/// A `tracing` layer that is installed in addition to the log, for example to export spans.
pub type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Layer that passes events, but no spans, to the inner layer, which formats log lines.
///
/// If the inner layer received spans, it would format the fields of every span, although most
/// requests log nothing.
pub(crate) struct LogLayer(pub(crate) BoxedLayer);

impl Layer<Registry> for LogLayer {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, Registry>) {
        self.0.on_event(event, context);
    }
}

/// Filter that selects events of this project at or above a level, warnings and errors of
/// libraries, and the root spans of requests. A root span is needed because it holds the request
/// fields of log lines.
///
/// A call site is a place in the code that emits an event or creates a span. The decision of the
/// filter for a call site never changes, so it is made only once.
///
/// `LogFilter` can filter for one layer (`Filter`) or for all layers (`Layer`). If logging is the
/// only layer, `Layer` is faster, because it avoids the look-up of per-layer filter state in each
/// span.
pub(crate) struct LogFilter(Targets);

impl LogFilter {
    pub(crate) fn new(level: LevelFilter) -> Self {
        let targets = Targets::new()
            .with_default(level.min(LevelFilter::WARN))
            .with_target("tee_session", level)
            .with_target(ACCESS_LOG, level.max(LevelFilter::INFO))
            // `actix_http` logs an error for each malformed request, so clients could fill the log.
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
