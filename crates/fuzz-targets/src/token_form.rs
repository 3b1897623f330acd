use tee_session_api_server::fuzzing::parse_token_form;

/// Fuzz target for the parser of the form body of token introspection and token revocation
/// requests.
///
/// If a token is parsed from a form, a form that contains only this token must parse to the same
/// token.
pub fn token_form(input: &[u8]) {
    let Some(Some(token)) = parse_token_form(input) else {
        return;
    };
    let again = format!("token={}", token.expose_secret());
    assert_eq!(parse_token_form(again.as_bytes()), Some(Some(token)));
}
