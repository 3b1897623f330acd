use tee_session_redis_adapter::fuzzing::{decode_plain, encode_plain};

/// What is read means the same when it is written again, and cannot break out of a header line.
pub fn plain_record(input: &[u8]) {
    let Some(session) = decode_plain(input) else {
        return;
    };
    assert!(!session.base_url.as_str().chars().any(char::is_control));
    for (name, value) in session.cookies.iter() {
        assert!(!name.chars().chain(value.chars()).any(char::is_control));
    }
    let again = decode_plain(&encode_plain(&session)).expect("what was read can be read again");
    assert_eq!(again.cookies, session.cookies);
    assert_eq!(again.base_url, session.base_url);
    // Python's clocks, and so its records, stop at microseconds.
    let lost = session.created_at - again.created_at;
    assert!(lost.whole_microseconds() == 0 && !lost.is_negative());
}
