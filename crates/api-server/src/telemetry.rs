//! Logs: how they are written, and what a request is called in them.

use std::{
    io::{self, IsTerminal},
    panic,
    str::FromStr,
};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer, Registry,
    filter::{FilterExt, Targets, filter_fn},
    layer::SubscriberExt,
};
use uuid::{Builder, NoContext, Timestamp, Uuid};

use crate::log_context::WithContext;

pub(crate) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// More lines than that do not wait for a slow reader. Room for them is made at the start.
const MAX_WAITING_LINES: usize = 16_384;

/// Longer ids of requests are not taken over.
const MAX_REQUEST_ID_LEN: usize = 128;

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

/// Logs to standard output from now on: events of this project from `level` on, warnings of
/// the libraries. Spans are left to `others`. Panics are logged by their place, without their message,
/// which may quote a secret.
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
    let lines: BoxedLayer = match format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .map_event_format(|inner| WithContext { inner, format })
            .boxed(),
        LogFormat::Text => {
            let has_colours = io::stdout().is_terminal();
            lines
                .map_event_format(|inner| WithContext {
                    inner: inner.with_ansi(has_colours),
                    format,
                })
                .boxed()
        }
    };
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("tee_session", level)
        // It logs an error for each request that it cannot read: as many as a client likes.
        .with_target("actix_http", LevelFilter::OFF)
        // A span that no line shows would be made for each request all the same.
        .and(filter_fn(|metadata| metadata.is_event()));
    let mut layers = others;
    layers.push(lines.with_filter(filter).boxed());
    tracing::subscriber::set_global_default(Registry::default().with(layers))?;
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

/// Names a request in logs and in its answer: what `X-Request-Id` says when that is sane, and
/// a new name otherwise.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all(REQUEST_ID_HEADER);
        let given = match (fields.next(), fields.next()) {
            (Some(field), None) if is_sane(field.as_bytes()) => Some(field.clone()),
            _ => None,
        };
        Self(given.unwrap_or_else(new_id))
    }

    pub(crate) fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("unknown")
    }
}

/// A UUID of version 7 (RFC 9562). It is a name and no secret: it need not come from the operating
/// system, which a system call for each request would be.
fn new_id() -> HeaderValue {
    let (seconds, nanos) = Timestamp::now(NoContext).to_unix();
    let millis = seconds * 1_000 + u64::from(nanos) / 1_000_000;
    let random = fastrand::u128(..).to_ne_bytes();
    let random = random.first_chunk().unwrap_or(&[0; 10]);
    let id = Builder::from_unix_timestamp_millis(millis, random);
    let mut text = Uuid::encode_buffer();
    let id = id.into_uuid().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Letters, digits and the separators that ids have: nothing that a log could take for more.
fn is_sane(id: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID_LEN).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

#[cfg(test)]
mod tests {
    use std::{panic::catch_unwind, sync::Mutex};

    use rstest::rstest;
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

    fn id_of(fields: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(REQUEST_ID_HEADER, HeaderValue::from_bytes(field).unwrap());
        }
        RequestId::of(&headers).as_str().to_owned()
    }

    #[rstest]
    #[case::uuid("0193a1b2-0000-7000-8000-000000000000")]
    #[case::trace_id("4bf92f3577b34da6a3ce929d0e0e4736")]
    #[case::amazon("Root=1-67891233-abcdef012345678912345678")]
    fn a_sane_id_is_taken_over(#[case] id: &str) {
        assert_eq!(id_of(&[id.as_bytes()]), id);
    }

    #[rstest]
    #[case::none(&[])]
    #[case::empty(&[b"".as_slice()])]
    #[case::space(&[b"a b".as_slice()])]
    #[case::quote(&[b"a\"b".as_slice()])]
    #[case::not_ascii(&[b"\xff".as_slice()])]
    #[case::too_long(&[[b'a'; 129].as_slice()])]
    #[case::twice(&[b"a".as_slice(), b"b"])]
    fn anything_else_gets_a_new_id(#[case] fields: &[&[u8]]) {
        let id = id_of(fields);
        assert_eq!(id.len(), 36, "{id}");
        assert_ne!(id, id_of(fields));
    }
}
