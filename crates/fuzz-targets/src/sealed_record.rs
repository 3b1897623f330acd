use tee_session_domain::SessionToken;
use tee_session_redis_adapter::fuzzing::{open_sealed, seal, seal_content};

/// Of the sealed test vector.
const TOKEN: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

/// The input is a value as somebody may write it to Redis; and it is the content of a record that
/// somebody sealed who has the token. What opens means the same when it is sealed again, and
/// opens for no other token.
pub fn sealed_record(input: &[u8]) {
    let token: SessionToken = TOKEN.parse().expect("a token");
    opens_soundly(&token, input);
    opens_soundly(&token, &seal_content(&token, input));
}

fn opens_soundly(token: &SessionToken, value: &[u8]) {
    let Some(session) = open_sealed(token, value) else {
        return;
    };
    assert!(!session.base_url.as_str().chars().any(char::is_control));
    for (name, value) in session.cookies.iter() {
        assert!(!name.chars().chain(value.chars()).any(char::is_control));
    }
    assert_eq!(open_sealed(token, &seal(token, &session)), Some(session));
    assert_eq!(open_sealed(&SessionToken::generate(), value), None);
}
