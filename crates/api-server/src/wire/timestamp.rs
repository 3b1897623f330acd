//! Times in response bodies and headers.

use std::io::Write;

use actix_web::http::header::HeaderValue;
use serde::{Serialize, Serializer, ser::Error};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// Length, in bytes, of the text of a time, such as `2026-01-15T10:30:00.123456Z`.
pub(super) const TIMESTAMP_LEN: usize = 27;

/// Length, in bytes, of the text of a time up to its seconds, such as `2026-01-15T10:30:00`.
const WHOLE_SECONDS_LEN: usize = 19;

/// A time that is serialized in UTC, in the format of RFC 3339, always with six digits after the
/// decimal point.
pub(crate) struct Timestamp(pub(crate) OffsetDateTime);

impl Timestamp {
    /// Writes the time into `buffer` and returns the written text. Returns `None` for a year that
    /// RFC 3339 cannot express.
    pub(super) fn write<'a>(&self, buffer: &'a mut [u8; TIMESTAMP_LEN]) -> Option<&'a str> {
        let time = self.0.to_offset(UtcOffset::UTC);
        let micros = time.microsecond();
        // The library leaves out trailing zeros of a fraction, and some parsers do not accept such
        // a time. The library therefore formats only the whole seconds, and the fraction is
        // appended.
        let whole = time.replace_nanosecond(0).ok()?;
        let mut rest = buffer.as_mut_slice();
        whole.format_into(&mut rest, &Rfc3339).ok()?;
        let mut rest = &mut buffer[WHOLE_SECONDS_LEN..];
        write!(rest, ".{micros:06}Z").ok()?;
        str::from_utf8(buffer).ok()
    }

    /// Returns the time as the value of a header. Returns `None` for a year that RFC 3339 cannot
    /// express.
    pub(crate) fn header_value(&self) -> Option<HeaderValue> {
        let mut text = [0; TIMESTAMP_LEN];
        HeaderValue::from_str(self.write(&mut text)?).ok()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; TIMESTAMP_LEN];
        let text = self.write(&mut text);
        let text = text.ok_or_else(|| S::Error::custom("RFC 3339 cannot express this time"))?;
        serializer.serialize_str(text)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use time::{Duration, UtcOffset};

    use super::*;

    #[rstest]
    #[case::no_fraction(0, "2026-01-15T10:30:00.000000Z")]
    #[case::trailing_zeros(120_000_000, "2026-01-15T10:30:00.120000Z")]
    #[case::leading_zeros(1_000, "2026-01-15T10:30:00.000001Z")]
    #[case::nanoseconds_are_cut_off(999_999_999, "2026-01-15T10:30:00.999999Z")]
    fn time_is_written_with_six_digits_after_the_decimal_point(
        #[case] nanoseconds: i64,
        #[case] expected: &str,
    ) {
        let time = OffsetDateTime::UNIX_EPOCH
            + Duration::seconds(1_768_473_000)
            + Duration::nanoseconds(nanoseconds);
        for offset in [UtcOffset::UTC, UtcOffset::from_hms(5, 45, 0).unwrap()] {
            let timestamp = Timestamp(time.to_offset(offset));
            assert_eq!(timestamp.write(&mut [0; TIMESTAMP_LEN]), Some(expected));
            assert_eq!(timestamp.header_value().unwrap(), expected);
        }
    }

    #[test]
    fn year_that_rfc_3339_cannot_express_is_not_written() {
        let time = OffsetDateTime::UNIX_EPOCH.replace_year(-1).unwrap();
        assert_eq!(Timestamp(time).write(&mut [0; TIMESTAMP_LEN]), None);
    }
}
