//! Format of times in the output of the `tee-session session` commands.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Formats a time as in RFC 3339, without fractions of a second.
pub(super) fn time(time: OffsetDateTime) -> String {
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_default()
}
