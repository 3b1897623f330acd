use tee_session_api_server::fuzzing::parse_token_form;

/// A token that is taken from a form is the one that a form names that holds nothing else.
pub fn token_form(input: &[u8]) {
    let Some(Some(token)) = parse_token_form(input) else {
        return;
    };
    let again = format!("token={}", token.expose_secret());
    assert_eq!(parse_token_form(again.as_bytes()), Some(Some(token)));
}
