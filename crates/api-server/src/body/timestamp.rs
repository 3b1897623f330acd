//! Times in response bodies and headers.

use actix_web::http::header::HeaderValue;
use serde::{Serialize, Serializer, ser::Error};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// Maximum length, in bytes, of the text of a time in UTC, such as
/// `2026-01-15T10:30:00.123456789Z`.
pub(super) const MAX_TIMESTAMP_LEN: usize = 30;

/// A time that is serialized in UTC, in the format of RFC 3339.
pub(crate) struct Timestamp(pub(crate) OffsetDateTime);

impl Timestamp {
    /// Writes the time into `buffer` and returns the written text. Returns `None` for a year that
    /// RFC 3339 cannot express.
    pub(super) fn write<'a>(&self, buffer: &'a mut [u8; MAX_TIMESTAMP_LEN]) -> Option<&'a str> {
        let mut rest = buffer.as_mut_slice();
        let time = self.0.to_offset(UtcOffset::UTC);
        time.format_into(&mut rest, &Rfc3339).ok()?;
        // The length that `format_into` returns lacks the `Z`, so the length is computed from the
        // unused rest of the buffer.
        let len = MAX_TIMESTAMP_LEN - rest.len();
        str::from_utf8(&buffer[..len]).ok()
    }

    /// Returns the time as the value of a header. Returns `None` for a year that RFC 3339 cannot
    /// express.
    pub(crate) fn header_value(&self) -> Option<HeaderValue> {
        let mut text = [0; MAX_TIMESTAMP_LEN];
        HeaderValue::from_str(self.write(&mut text)?).ok()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; MAX_TIMESTAMP_LEN];
        let text = self.write(&mut text);
        let text = text.ok_or_else(|| S::Error::custom("RFC 3339 cannot express this time"))?;
        serializer.serialize_str(text)
    }
}
