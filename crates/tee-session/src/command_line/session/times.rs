//! Times as people and programs read them.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// RFC 3339, to the second.
pub(super) fn time(time: OffsetDateTime) -> String {
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_default()
}
