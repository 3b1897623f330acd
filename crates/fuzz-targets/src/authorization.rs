use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tee_session_auth_middleware::{AuthError, BearerToken};
use tee_session_domain::SessionToken;

/// Fuzz target for the parser of bearer tokens in `Authorization` headers.
///
/// The input contains the values of one or two `Authorization` fields, separated by a line feed. If
/// the parser returns a token, the field must end with exactly the bytes of this token. If there
/// are two fields, the parser must return no token.
pub fn authorization(input: &[u8]) {
    let mut headers = HeaderMap::new();
    let fields: Vec<_> = input.split(|byte| *byte == b'\n').take(2).collect();
    for field in &fields {
        let Ok(value) = HeaderValue::from_bytes(field) else {
            return;
        };
        headers.append(AUTHORIZATION, value);
    }
    match BearerToken::from_headers(&headers) {
        Ok(BearerToken(token)) => {
            assert_eq!(fields.len(), 1);
            let text = token.expose_secret();
            assert!(fields[0].trim_ascii_end().ends_with(text.as_bytes()));
            assert_eq!(text.parse::<SessionToken>(), Ok(token.clone()));
            assert!(!format!("{token:?}").contains(text));
        }
        Err(AuthError::MissingToken | AuthError::InvalidToken) => assert_eq!(fields.len(), 1),
        Err(AuthError::InvalidRequest(_)) => {}
        Err(error) => panic!("parsing must not need a look-up: {error}"),
    }
}
