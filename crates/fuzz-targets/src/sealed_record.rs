use tee_session_domain::SessionToken;
use tee_session_redis_adapter::fuzzing::{open_sealed, seal, seal_content};

use crate::line_start::starts_a_line;

/// Session token in the test vector for sealed (encrypted) records.
const TOKEN: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

/// Fuzz target for the decoder of sealed (encrypted) session records.
///
/// The input is used in two ways: as a value that an attacker writes to Redis, and as the content
/// of a record that is sealed with a valid token. If a record can be opened, sealing and opening
/// the session again must return the same session. Another token must not open the record.
pub fn sealed_record(input: &[u8]) {
    let token: SessionToken = TOKEN.parse().expect("a token");
    check_opened(&token, input);
    for version in [1, 2] {
        check_opened(&token, &seal_content(&token, version, input));
    }
}

fn check_opened(token: &SessionToken, value: &[u8]) {
    let Some(session) = open_sealed(token, value) else {
        return;
    };
    assert!(!session.base_url.as_str().chars().any(char::is_control));
    for (name, value) in session.cookies.iter() {
        assert!(!starts_a_line(name) && !value.is_some_and(starts_a_line));
    }
    assert_eq!(open_sealed(token, &seal(token, &session)), Some(session));
    assert_eq!(open_sealed(&SessionToken::generate(), value), None);
}
