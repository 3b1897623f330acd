//! Formatting of log lines. A log line contains an event, and the fields of the request to which
//! the event belongs.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use crate::telemetry::log_context::LogContext;

/// Formats events as JSON. The format is that of `tracing-subscriber`, with the fields of the
/// request as the additional member `span`.
pub(crate) struct JsonLine(pub(crate) Format<Json>);

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::with_capacity(512);
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let fields = with_request(context, serde_json::to_string);
        match (fields, line.strip_suffix("}\n")) {
            (Some(fields), Some(line)) => {
                let fields = fields.map_err(|_| fmt::Error)?;
                writeln!(writer, r#"{line},"span":{fields}}}"#)
            }
            _ => writer.write_str(&line),
        }
    }
}

/// Formats events as text: time, level, target, message, the fields of the event, and the fields of
/// the request.
pub(crate) struct TextLine;

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (dim, colour, plain) = match writer.has_ansi_escapes() {
            true => ("\x1b[2m", colour(*event.metadata().level()), "\x1b[0m"),
            false => ("", "", ""),
        };
        writer.write_str(dim)?;
        SystemTime.format_time(&mut writer)?;
        let (level, target) = (event.metadata().level(), event.metadata().target());
        write!(
            writer,
            "{plain} {colour}{level:>5}{plain} {dim}{target}:{plain} "
        )?;
        context.format_fields(writer.by_ref(), event)?;
        let written = with_request(context, |request| {
            let LogContext { method, route, .. } = request;
            let request_id = request.request_id.as_str();
            write!(
                writer,
                " method={method} route={route} request_id={request_id}"
            )?;
            if let Some(trace_id) = request.trace_id {
                write!(writer, " trace_id={trace_id}")?;
            }
            if let Some(id) = &request.service_client {
                write!(writer, " service_client={}", id.as_str())?;
            }
            Ok(())
        });
        written.unwrap_or(Ok(()))?;
        writeln!(writer)
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// Calls `write` with the fields of the request to which the event belongs. Returns `None` if the
/// event belongs to no request.
fn with_request<S, N, T>(
    context: &FmtContext<'_, S, N>,
    write: impl FnOnce(&LogContext) -> T,
) -> Option<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let span = context.event_scope()?.last()?;
    let extensions = span.extensions();
    extensions.get::<LogContext>().map(write)
}
