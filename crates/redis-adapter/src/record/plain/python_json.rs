//! JSON as `json.dumps` of Python formats it with default arguments.

use std::io::{self, Write};

use serde_json::ser::Formatter;

/// Formats JSON with a space after each comma and each colon. Every character other than printable
/// ASCII is written as `\uXXXX`.
pub(super) struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let is_kept = |byte: u8| (b' '..=b'~').contains(&byte);
        if fragment.bytes().all(is_kept) {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            match u8::try_from(character) {
                Ok(byte) if is_kept(byte) => writer.write_all(&[byte])?,
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
