//! Logging: formats, filters and the writer.

use std::{
    io::{self, IsTerminal},
    panic,
    str::FromStr,
};

use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

use crate::{
    log_layer::{LogFilter, LogLayer},
    log_line::{JsonLine, TextLine},
};

/// More lines than that do not wait for a slow reader. Room for them is made at the start.
const MAX_WAITING_LINES: usize = 16_384;

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LogFormat {
    /// One JSON object a line, for collectors.
    #[default]
    Json,
    /// One line of text, for people.
    Text,
}

impl LogFormat {
    /// The name in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}

impl FromStr for LogFormat {
    type Err = UnknownLogFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all = [Self::Json, Self::Text];
        all.into_iter()
            .find(|format| format.as_str() == name)
            .ok_or(UnknownLogFormat)
    }
}

/// There is no such log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the log format must be json or text")]
pub struct UnknownLogFormat;

/// Writes out what is left of the log when it is dropped: hold it until the process ends.
#[must_use = "the log stops when this is dropped"]
#[derive(Debug)]
pub struct LogGuard {
    _worker: WorkerGuard,
}

/// What else hears of events and spans, beside the log: a layer that exports spans, say.
pub type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Logs to standard output from now on: events of this project from `level` on and warnings of the
/// libraries, each with the fields of its request. Spans are exported by `others`. Panics are logged
/// by their place, without their message, which may quote a secret.
///
/// Lines are written by a thread of their own, so that a slow reader never holds up a request;
/// when that thread falls far behind, lines are dropped rather than requests.
///
/// # Errors
/// When the process logs already.
pub fn start_logging(
    level: LevelFilter,
    format: LogFormat,
    others: Vec<BoxedLayer>,
) -> Result<LogGuard, tracing::subscriber::SetGlobalDefaultError> {
    let (writer, worker) = NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_WAITING_LINES)
        .finish(io::stdout());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .log_internal_errors(false);
    let lines = match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .map_event_format(JsonLine)
            .boxed(),
        LogFormat::Text => lines
            .with_ansi(io::stdout().is_terminal())
            .event_format(TextLine)
            .boxed(),
    };
    let (lines, filter) = (LogLayer(lines), LogFilter::new(level));
    let registry = Registry::default();
    if others.is_empty() {
        tracing::subscriber::set_global_default(registry.with(lines).with(filter))?;
    } else {
        let mut layers = others;
        layers.push(lines.with_filter(filter).boxed());
        tracing::subscriber::set_global_default(registry.with(layers))?;
    }
    log_panics();
    Ok(LogGuard { _worker: worker })
}

/// Logs where panics happen from now on, and counts them. Their messages are left out: a message
/// may quote what was at hand, a token or a cookie.
fn log_panics() {
    panic::set_hook(Box::new(|panicked| {
        let location = panicked.location().map(tracing::field::display);
        tracing::error!(location, "Panicked: this is a bug of the service");
        metrics::counter!("tee_session_panics_total").increment(1);
    }));
}

#[cfg(test)]
mod tests {
    use std::{panic::catch_unwind, sync::Mutex};

    use tracing::subscriber::with_default;

    use super::*;

    #[test]
    fn a_panic_is_logged_by_its_place_without_its_message() {
        let (logged, writer) = io::pipe().unwrap();
        let lines = tracing_subscriber::fmt().with_writer(Mutex::new(writer));
        with_default(lines.finish(), || {
            log_panics();
            assert!(catch_unwind(|| panic!("s3cret-cookie")).is_err());
            let _ = panic::take_hook();
        });
        let logged = io::read_to_string(logged).unwrap();
        assert!(logged.contains("src/telemetry.rs"), "{logged}");
        assert!(!logged.contains("s3cret"), "{logged}");
    }
}
