use tee_session_redis_adapter::fuzzing::{decode_plain, encode_plain};

use crate::line_start::starts_a_line;

/// Fuzz target for the decoder of plain (unencrypted) session records.
///
/// The cookies of a decoded session must contain no control characters that browsers refuse, so
/// that they cannot inject header lines. If the session is encoded and decoded again, the result
/// must be the same session, with its creation time rounded down to microseconds.
pub fn plain_record(input: &[u8]) {
    let Some(session) = decode_plain(input) else {
        return;
    };
    assert!(!session.base_url.as_str().chars().any(char::is_control));
    for (name, value) in session.cookies.iter() {
        assert!(!starts_a_line(name) && !value.is_some_and(starts_a_line));
    }
    let again = decode_plain(&encode_plain(&session)).expect("an encoded session can be decoded");
    assert_eq!(again.cookies, session.cookies);
    assert_eq!(again.base_url, session.base_url);
    // Plain records store the creation time in microseconds, as Python does. Encoding a session
    // therefore drops the nanoseconds.
    let lost = session.created_at - again.created_at;
    assert!(lost.whole_microseconds() == 0 && !lost.is_negative());
}
