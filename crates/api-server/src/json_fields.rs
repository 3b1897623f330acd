//! The fields of spans in JSON, written in one go.

use std::{
    cell::RefCell,
    fmt::{self, Debug, Write},
};

use tracing::{field::Field, span::Record};
use tracing_subscriber::{
    field::{RecordFields, Visit},
    fmt::{FormatFields, FormattedFields, format::Writer},
};

thread_local! {
    static BUFFER: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Writes fields as one JSON object (RFC 8259), as `tracing_subscriber`'s own `JsonFields` does, and
/// without the tree that it builds for each request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct JsonFields;

impl<'writer> FormatFields<'writer> for JsonFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        // What is written piece by piece would make the text of the span grow piece by piece.
        // What a value's own writing may log has a buffer of its own.
        let mut buffer = BUFFER.take();
        buffer.clear();
        buffer.write_char('{')?;
        Members::of(&mut buffer, true).write(&fields)?;
        buffer.write_char('}')?;
        let written = writer.write_str(&buffer);
        BUFFER.set(buffer);
        written
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        // More members in place of the brace.
        current.fields.pop();
        let is_first = current.fields.len() <= 1;
        Members::of(&mut current.fields, is_first).write(fields)?;
        current.fields.write_char('}')
    }
}

/// Members of an object.
struct Members<'a> {
    writer: &'a mut dyn Write,
    is_first: bool,
    result: fmt::Result,
}

impl<'a> Members<'a> {
    fn of(writer: &'a mut dyn Write, is_first: bool) -> Self {
        Self {
            writer,
            is_first,
            result: Ok(()),
        }
    }

    fn write(mut self, fields: &impl RecordFields) -> fmt::Result {
        fields.record(&mut self);
        self.result
    }

    fn member(&mut self, field: &Field, value: impl FnOnce(&mut dyn Write) -> fmt::Result) {
        if self.result.is_ok() {
            let comma = if self.is_first { "" } else { "," };
            self.is_first = false;
            self.result = write!(self.writer, "{comma}\"{}\":", field.name())
                .and_then(|()| value(self.writer));
        }
    }
}

fn text(writer: &mut dyn Write, value: fmt::Arguments<'_>) -> fmt::Result {
    writer.write_char('"')?;
    Escaped(writer).write_fmt(value)?;
    writer.write_char('"')
}

impl Visit for Members<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity, and no "not a number".
        if value.is_finite() {
            self.member(field, |writer| write!(writer, "{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |writer| text(writer, format_args!("{value}")));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, |writer| text(writer, format_args!("{value:?}")));
    }
}

/// Escapes what a JSON string must not hold as it is.
struct Escaped<'a>(&'a mut dyn Write);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') {
            let (plain, special) = rest.split_at(at);
            self.0.write_str(plain)?;
            let code = special.as_bytes()[0];
            write!(self.0, "\\u{code:04x}")?;
            rest = &special[1..];
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tracing::{info_span, subscriber::with_default};
    use tracing_subscriber::{Registry, fmt::MakeWriter, layer::SubscriberExt};

    use super::*;

    /// The span of a line that is logged within it.
    fn logged(span: impl FnOnce() -> tracing::Span) -> Value {
        #[derive(Clone, Default)]
        struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        impl MakeWriter<'_> for Lines {
            type Writer = Self;
            fn make_writer(&self) -> Self {
                self.clone()
            }
        }
        let lines = Lines::default();
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .fmt_fields(JsonFields)
            .with_writer(lines.clone());
        with_default(Registry::default().with(layer), || {
            span().in_scope(|| tracing::info!("a line"));
        });
        let lines = lines.0.lock().unwrap().clone();
        let mut line: Value = serde_json::from_slice(&lines).unwrap();
        line["span"].take()
    }

    #[test]
    fn fields_of_every_kind_are_one_object() {
        let span = logged(
            || info_span!("s", text = "x", display = %"y", debug = ?Some(1), n = 1, m = -1, b = true, f = 0.5),
        );
        assert_eq!(
            span,
            json!({"name": "s", "text": "x", "display": "y", "debug": "Some(1)", "n": 1, "m": -1, "b": true, "f": 0.5})
        );
    }

    #[test]
    fn no_value_breaks_out_of_its_string() {
        let hostile = "\",\"admin\":\"\\ \n\r\t\0\u{1f}\u{7f}ä日";
        let span = logged(|| info_span!("s", hostile));
        assert_eq!(span, json!({"name": "s", "hostile": hostile}));
    }

    #[test]
    fn what_is_recorded_later_joins_what_was_there() {
        let span = logged(|| {
            let span = info_span!("s", a = 1, b = tracing::field::Empty);
            span.record("b", 2);
            span
        });
        assert_eq!(span, json!({"name": "s", "a": 1, "b": 2}));
        let span = logged(|| {
            let span = info_span!("s", b = tracing::field::Empty);
            span.record("b", 2);
            span
        });
        assert_eq!(span, json!({"name": "s", "b": 2}));
    }
}
