use tee_session_domain::Session;

/// Fuzz target for the decoder of the binary form of sessions. If the input can be decoded and the
/// session is encoded and decoded again, the result must be the same session.
pub fn session_bytes(input: &[u8]) {
    let Ok(session) = Session::from_bytes(input) else {
        return;
    };
    assert!(!session.base_url.as_str().chars().any(char::is_control));
    for (name, value) in session.cookies.iter() {
        let mut text = name.chars().chain(value.unwrap_or_default().chars());
        assert!(!text.any(|c| c != '\t' && c.is_ascii_control()));
    }
    assert_eq!(Session::from_bytes(&session.to_bytes()), Ok(session));
}
