//! Times in records, as microseconds since the Unix epoch.

use time::OffsetDateTime;

use crate::CorruptRecord;

/// Converts a time to microseconds since the Unix epoch.
pub(crate) fn to_micros(time: OffsetDateTime) -> i64 {
    i64::try_from((time - OffsetDateTime::UNIX_EPOCH).whole_microseconds()).unwrap_or(i64::MAX)
}

/// Converts microseconds since the Unix epoch to a time. Returns an error if the year is not
/// between 0 and 9999, because RFC 3339 cannot express such a time.
pub(crate) fn from_micros(micros: i64) -> Result<OffsetDateTime, CorruptRecord> {
    let time = OffsetDateTime::UNIX_EPOCH.checked_add(time::Duration::microseconds(micros));
    time.filter(|time| time.year() >= 0)
        .ok_or(CorruptRecord::CreatedAt)
}
