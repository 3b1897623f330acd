//! Set-up of logging: format of log lines, log filter, writer thread, and panic hook.

use std::{
    io::{self, IsTerminal},
    panic,
    str::FromStr,
};

use tee_session_domain::LogLimit;
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Layer, Registry, layer::SubscriberExt};

use crate::telemetry::{
    log_layer::{BoxedLayer, LogFilter, LogLayer},
    log_line::{JsonLine, TextLine},
};

/// Maximum number of log lines that wait for the writer thread. Further log lines are dropped. The
/// memory for this queue is allocated when logging starts.
const MAX_WAITING_LINES: usize = 16_384;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LogFormat {
    /// One JSON object per line, for log collectors.
    #[default]
    Json,
    /// One line of text per event, for humans.
    Text,
}

impl LogFormat {
    /// Returns the name of this log format in the settings, such as `json`.
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

/// Parse error for [`LogFormat`]: the name of the log format is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the log format must be json or text")]
pub struct UnknownLogFormat;

/// Guard of the writer thread. When the guard is dropped, the remaining log lines are written and
/// logging stops. Keep the guard until the process ends.
#[must_use = "logging stops when the guard is dropped"]
#[derive(Debug)]
pub struct LogGuard {
    _worker: WorkerGuard,
}

/// Starts logging to standard output, and installs the further `tracing` layers `others`.
///
/// Events of this project are logged if their level is at least `level`. Events of libraries are
/// logged only if they are also warnings or errors. Each log line that belongs to a request
/// contains the fields of that request. The layers in `others` receive all events and spans, for
/// example to export spans. Panics are logged with their location, but without the panic message,
/// because the message may contain a secret.
///
/// A separate thread writes the log lines, so that a slow reader of standard output never delays a
/// request. If that thread falls far behind, log lines are dropped.
///
/// # Errors
/// Fails if the process already has a global `tracing` subscriber.
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

/// Rate limit for log lines about panics. If a client finds a request that panics, it can repeat
/// this request at any rate.
static PANICS: LogLimit = LogLimit::per_second(10);

/// Installs a panic hook that counts each panic and logs the location of the panic. At most ten
/// panics per second are logged. The panic message is not logged, because the message may contain a
/// token or a cookie.
fn log_panics() {
    panic::set_hook(Box::new(|panicked| {
        PANICS.log(|unlogged| {
            let location = panicked.location().map(tracing::field::display);
            tracing::error!(location, unlogged, "Panicked: this is a bug in the service");
        });
        metrics::counter!("tee_session_panics_total").increment(1);
    }));
}

#[cfg(test)]
mod tests {
    use std::{panic::catch_unwind, sync::Mutex};

    use tracing::subscriber::with_default;

    use super::*;

    #[test]
    fn panic_is_logged_with_its_location_and_without_its_message() {
        let (logged, writer) = io::pipe().unwrap();
        let lines = tracing_subscriber::fmt().with_writer(Mutex::new(writer));
        with_default(lines.finish(), || {
            log_panics();
            assert!(catch_unwind(|| panic!("s3cret-cookie")).is_err());
            let _ = panic::take_hook();
        });
        let logged = io::read_to_string(logged).unwrap();
        assert!(logged.contains("src/telemetry/logging.rs"), "{logged}");
        assert!(!logged.contains("s3cret"), "{logged}");
    }
}
