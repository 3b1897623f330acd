//! Response to a request head that has not arrived in time.

use std::time::SystemTime;

/// Formats the response 408 (RFC 9110, section 15.5.9), with the `Date` field that section 6.6.1
/// requires.
#[expect(
    clippy::disallowed_methods,
    reason = "the date is only sent, and no session depends on it"
)]
pub(super) fn response() -> String {
    format!(
        "HTTP/1.1 408 Request Timeout\r\n\
         content-length: 0\r\n\
         connection: close\r\n\
         date: {}\r\n\r\n",
        httpdate::fmt_http_date(SystemTime::now())
    )
}
