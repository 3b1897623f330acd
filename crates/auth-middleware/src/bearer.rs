//! The `Authorization` header field of a request (RFC 6750, section 2.1).

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use tee_session_domain::SessionToken;

use crate::AuthError;

const SCHEME: &[u8] = b"Bearer";

/// The token that a request carries, parsed but not looked up.
///
/// For handlers that ask the [`SessionManager`](tee_session_domain::SessionManager) themselves,
/// to delete a session or to ask for its time to live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerToken(pub SessionToken);

impl BearerToken {
    /// Reads the token of a request: from its header, and from nowhere else. One in the query
    /// beside it makes two methods, which RFC 6750, section 3.1 calls an invalid request; one in
    /// the query alone is none.
    ///
    /// # Errors
    /// [`AuthError::MissingToken`], [`AuthError::InvalidRequest`] or [`AuthError::InvalidToken`].
    pub fn of(request: &HttpRequest) -> Result<Self, AuthError> {
        let token = Self::from_headers(request.headers());
        let query = request.query_string();
        let is_missing = matches!(token, Err(AuthError::MissingToken));
        if !is_missing && !query.is_empty() && has_token_parameter(query) {
            return Err(AuthError::InvalidRequest(
                "A token must stand in the Authorization header field only",
            ));
        }
        token
    }

    /// Reads the token from a request's header fields. Only `Authorization` counts.
    ///
    /// # Errors
    /// [`AuthError::MissingToken`], [`AuthError::InvalidRequest`] or [`AuthError::InvalidToken`].
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, AuthError> {
        let mut fields = headers.get_all(AUTHORIZATION);
        match (fields.next(), fields.next()) {
            (None, _) => Err(AuthError::MissingToken),
            (Some(field), None) => parse(field),
            (Some(_), Some(_)) => Err(AuthError::InvalidRequest(
                "The Authorization header field stands twice",
            )),
        }
    }
}

fn parse(field: &HeaderValue) -> Result<BearerToken, AuthError> {
    let field = field.as_bytes().trim_ascii();
    let end_of_scheme = field.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    let (scheme, rest) = field.split_at(end_of_scheme.unwrap_or(field.len()));
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(AuthError::MissingToken);
    }
    let token = trim_spaces(rest);
    if token.is_empty() {
        return Err(AuthError::InvalidRequest(
            "A token must follow the scheme Bearer",
        ));
    }
    if token.iter().any(|byte| matches!(byte, b' ' | b'\t' | b',')) {
        return Err(AuthError::InvalidRequest(
            "One token must follow the scheme Bearer",
        ));
    }
    let token = str::from_utf8(token).map_err(|_| AuthError::InvalidToken)?;
    token
        .parse()
        .map(BearerToken)
        .map_err(|_| AuthError::InvalidToken)
}

/// Whether there is a URI query parameter for a token (RFC 6750, section 2.3).
fn has_token_parameter(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token")
}

/// Spaces only: a TAB is no separator here.
fn trim_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = bytes {
        bytes = rest;
    }
    bytes
}

impl FromRequest for BearerToken {
    type Error = AuthError;
    type Future = Ready<Result<Self, AuthError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const TOKEN: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

    fn parsed(field: &[u8]) -> Result<BearerToken, AuthError> {
        parse(&HeaderValue::from_bytes(field).unwrap())
    }

    #[rstest]
    #[case::as_written("Bearer ")]
    #[case::lower_case("bearer ")]
    #[case::upper_case("BEARER ")]
    #[case::several_spaces("Bearer    ")]
    fn takes_the_scheme_in_any_case_and_any_number_of_spaces(#[case] scheme: &str) {
        let token = parsed(format!("{scheme}{TOKEN}").as_bytes()).unwrap();
        assert_eq!(token.0.expose_secret(), TOKEN);
        assert_eq!(
            parsed(format!("{scheme}{TOKEN}  ").as_bytes()).unwrap(),
            token
        );
    }

    #[rstest]
    #[case::empty(b"")]
    #[case::basic(b"Basic dXNlcjpwYXNz")]
    #[case::negotiate(b"Negotiate abc")]
    #[case::only_a_token(TOKEN.as_bytes())]
    #[case::scheme_runs_on(b"Bearertoken")]
    #[case::scheme_with_colon(b"Bearer: x")]
    #[case::not_ascii(b"B\xe4rer x")]
    fn another_scheme_is_a_missing_token(#[case] field: &[u8]) {
        assert!(matches!(parsed(field), Err(AuthError::MissingToken)));
    }

    #[rstest]
    #[case::no_token(b"Bearer")]
    #[case::only_spaces(b"Bearer   ")]
    #[case::two_words(b"Bearer a b")]
    #[case::comma(b"Bearer a,b")]
    #[case::comma_at_the_end(b"Bearer 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed,")]
    #[case::tab_for_a_space(b"Bearer\ta")]
    #[case::tab_inside(b"Bearer a\tb")]
    #[case::space_and_tab(b"Bearer \ta")]
    fn a_malformed_field_is_an_invalid_request(#[case] field: &[u8]) {
        assert!(matches!(parsed(field), Err(AuthError::InvalidRequest(_))));
    }

    #[rstest]
    #[case::word(b"Bearer x")]
    #[case::parameter(b"Bearer token=\"x\"")]
    #[case::upper_case_uuid(b"Bearer 1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED")]
    #[case::braces(b"Bearer {1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed}")]
    #[case::urn(b"Bearer urn:uuid:1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::percent_encoded(b"Bearer 1b9d6bcd%2dbbfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::trailing_nul_encoded(b"Bearer 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed%00")]
    #[case::quoted(b"Bearer \"1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed\"")]
    #[case::key_prefix(b"Bearer session:1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::glob(b"Bearer *")]
    #[case::high_bytes(b"Bearer \xff\xfe")]
    #[case::utf_8("Bearer １b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".as_bytes())]
    #[case::zero_width("Bearer \u{200b}1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".as_bytes())]
    fn one_word_that_is_no_token_is_an_invalid_token(#[case] field: &[u8]) {
        assert!(matches!(parsed(field), Err(AuthError::InvalidToken)));
    }

    #[test]
    fn eight_kibibytes_are_an_invalid_token() {
        let field = [b"Bearer ".as_slice(), &[b'a'; 8_192]].concat();
        assert!(matches!(parsed(&field), Err(AuthError::InvalidToken)));
    }

    proptest! {
        #[test]
        fn whatever_a_header_may_hold_is_judged_without_a_panic(
            field in proptest::collection::vec(
                prop_oneof![Just(b' '), Just(b'\t'), Just(b','), 0x21..=0x7e_u8, 0x80..=0xff_u8],
                0..80,
            ),
            with_scheme in any::<bool>(),
        ) {
            let field = if with_scheme { [b"Bearer ".as_slice(), &field].concat() } else { field };
            if let Ok(BearerToken(token)) = parsed(&field) {
                prop_assert!(field.ends_with(token.expose_secret().as_bytes()));
            }
        }
    }
}
