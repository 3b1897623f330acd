//! Parser for the bearer token in the `Authorization` header field (RFC 6750, section 2.1).

use std::{
    future::{Ready, ready},
    ops::Deref,
};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use tee_session_domain::SessionToken;

use crate::AuthError;

const SCHEME: &[u8] = b"Bearer";

/// The bearer token of a request: parsed, but not looked up in the session store.
///
/// `BearerToken` is an extractor for handlers that call the
/// [`SessionManager`](tee_session_domain::SessionManager) themselves, for example to delete a
/// session or to return its remaining lifetime. `BearerToken` dereferences to the [`SessionToken`]:
///
/// ```
/// # use tee_session_domain::{SessionManager, SessionRepository};
/// use actix_web::{HttpResponse, web::Data};
/// use tee_session_auth_middleware::{AuthError, BearerToken};
///
/// async fn log_out<R: SessionRepository>(
///     token: BearerToken,
///     sessions: Data<SessionManager<R>>,
/// ) -> Result<HttpResponse, AuthError> {
///     sessions.delete(&token).await?;
///     Ok(HttpResponse::NoContent().finish())
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerToken(pub SessionToken);

impl BearerToken {
    /// Returns the token from the request's `Authorization` header field.
    ///
    /// A token in the query (`access_token`) is never accepted. If the request has an
    /// `Authorization` header field and a token in the query, the request is rejected as an invalid
    /// request (RFC 6750, section 3.1). If the request has only a token in the query, the token
    /// counts as missing.
    ///
    /// # Errors
    /// - [`AuthError::MissingToken`] if the request carries no bearer token.
    /// - [`AuthError::InvalidRequest`] if the credentials are malformed or repeated.
    /// - [`AuthError::InvalidToken`] if the format of the token is invalid.
    pub fn of(request: &HttpRequest) -> Result<Self, AuthError> {
        let token = Self::from_headers(request.headers());
        let query = request.query_string();
        let is_missing = matches!(token, Err(AuthError::MissingToken));
        if !is_missing && !query.is_empty() && has_token_parameter(query) {
            return Err(AuthError::InvalidRequest(
                "The token must be sent in the Authorization header field only, not in the query",
            ));
        }
        token
    }

    /// Returns the token from the `Authorization` header field. Ignores all other header fields.
    ///
    /// # Errors
    /// - [`AuthError::MissingToken`] if the request carries no bearer token.
    /// - [`AuthError::InvalidRequest`] if the credentials are malformed or repeated.
    /// - [`AuthError::InvalidToken`] if the format of the token is invalid.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, AuthError> {
        let mut fields = headers.get_all(AUTHORIZATION);
        match (fields.next(), fields.next()) {
            (None, _) => Err(AuthError::MissingToken),
            (Some(field), None) => parse(field),
            (Some(_), Some(_)) => Err(AuthError::InvalidRequest(
                "The Authorization header field is repeated; send it once",
            )),
        }
    }
}

impl Deref for BearerToken {
    type Target = SessionToken;

    fn deref(&self) -> &SessionToken {
        &self.0
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
            "The scheme Bearer must be followed by a token",
        ));
    }
    if token.iter().any(|byte| matches!(byte, b' ' | b'\t' | b',')) {
        return Err(AuthError::InvalidRequest(
            "The scheme Bearer must be followed by one token without spaces, tabs or commas",
        ));
    }
    let token = str::from_utf8(token).map_err(|_| AuthError::InvalidToken)?;
    token
        .parse()
        .map(BearerToken)
        .map_err(|_| AuthError::InvalidToken)
}

/// Returns `true` if the query has the parameter `access_token`, which RFC 6750 (section 2.3)
/// defines for sending a token in the query.
fn has_token_parameter(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token")
}

/// Removes leading and trailing spaces. TABs are not removed, because RFC 6750 allows only spaces
/// between the scheme and the token.
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
    use actix_web::test::TestRequest;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const TOKEN: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

    fn parse_request(header: Option<&str>, query: &str) -> Result<BearerToken, AuthError> {
        let request = TestRequest::with_uri(&format!("/v1/session{query}"));
        let request = match header {
            Some(header) => request.insert_header((AUTHORIZATION, header)),
            None => request,
        };
        BearerToken::of(&request.to_http_request())
    }

    #[rstest]
    #[case::no_query("")]
    #[case::empty_query("?")]
    #[case::another_parameter("?verbose=true")]
    #[case::longer_name("?access_tokens=1")]
    fn token_in_the_header_is_accepted_with_any_query_without_a_token(#[case] query: &str) {
        let token = parse_request(Some(&format!("Bearer {TOKEN}")), query).unwrap();
        assert_eq!(token.0.expose_secret(), TOKEN);
    }

    #[rstest]
    #[case::valid_token("Bearer 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::invalid_token("Bearer x")]
    #[case::malformed("Bearer a b")]
    fn token_in_the_header_and_in_the_query_is_an_invalid_request_error(#[case] header: &str) {
        for query in ["?access_token=x", "?a=1&access_token=", "?%61ccess_token=x"] {
            let parsed = parse_request(Some(header), query);
            assert!(matches!(parsed, Err(AuthError::InvalidRequest(_))));
        }
    }

    #[rstest]
    #[case::no_header(None)]
    #[case::another_scheme(Some("Basic dXNlcjpwYXNz"))]
    fn token_only_in_the_query_is_a_missing_token_error(#[case] header: Option<&str>) {
        let parsed = parse_request(header, &format!("?access_token={TOKEN}"));
        assert!(matches!(parsed, Err(AuthError::MissingToken)));
    }

    #[test]
    fn repeated_authorization_header_is_an_invalid_request_error() {
        let field = (AUTHORIZATION, format!("Bearer {TOKEN}"));
        let request = TestRequest::default().append_header(field.clone());
        let request = request.append_header(field).to_http_request();
        let parsed = BearerToken::of(&request);
        assert!(matches!(parsed, Err(AuthError::InvalidRequest(_))));
    }

    fn parse_bytes(field: &[u8]) -> Result<BearerToken, AuthError> {
        parse(&HeaderValue::from_bytes(field).unwrap())
    }

    #[rstest]
    #[case::capitalized("Bearer ")]
    #[case::lower_case("bearer ")]
    #[case::upper_case("BEARER ")]
    #[case::several_spaces("Bearer    ")]
    fn bearer_scheme_is_case_insensitive_and_may_be_followed_by_several_spaces(
        #[case] scheme: &str,
    ) {
        let token = parse_bytes(format!("{scheme}{TOKEN}").as_bytes()).unwrap();
        assert_eq!(token.0.expose_secret(), TOKEN);
        assert_eq!(
            parse_bytes(format!("{scheme}{TOKEN}  ").as_bytes()).unwrap(),
            token
        );
    }

    #[rstest]
    #[case::empty(b"")]
    #[case::basic(b"Basic dXNlcjpwYXNz")]
    #[case::negotiate(b"Negotiate abc")]
    #[case::only_a_token(TOKEN.as_bytes())]
    #[case::no_space_after_scheme(b"Bearertoken")]
    #[case::scheme_with_colon(b"Bearer: x")]
    #[case::not_ascii(b"B\xe4rer x")]
    fn authorization_with_another_scheme_is_a_missing_token_error(#[case] field: &[u8]) {
        assert!(matches!(parse_bytes(field), Err(AuthError::MissingToken)));
    }

    #[rstest]
    #[case::no_token(b"Bearer")]
    #[case::only_spaces(b"Bearer   ")]
    #[case::two_words(b"Bearer a b")]
    #[case::comma(b"Bearer a,b")]
    #[case::comma_at_the_end(b"Bearer 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed,")]
    #[case::tab_instead_of_space(b"Bearer\ta")]
    #[case::tab_inside_token(b"Bearer a\tb")]
    #[case::space_and_tab(b"Bearer \ta")]
    fn malformed_bearer_header_is_an_invalid_request_error(#[case] field: &[u8]) {
        assert!(matches!(
            parse_bytes(field),
            Err(AuthError::InvalidRequest(_))
        ));
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
    fn token_in_a_wrong_format_is_an_invalid_token_error(#[case] field: &[u8]) {
        assert!(matches!(parse_bytes(field), Err(AuthError::InvalidToken)));
    }

    #[test]
    fn token_of_8_kib_is_an_invalid_token_error() {
        let field = [b"Bearer ".as_slice(), &[b'a'; 8_192]].concat();
        assert!(matches!(parse_bytes(&field), Err(AuthError::InvalidToken)));
    }

    proptest! {
        #[test]
        fn parsing_any_authorization_header_value_never_panics(
            field in proptest::collection::vec(
                prop_oneof![Just(b' '), Just(b'\t'), Just(b','), 0x21..=0x7e_u8, 0x80..=0xff_u8],
                0..80,
            ),
            with_scheme in any::<bool>(),
        ) {
            let field = if with_scheme { [b"Bearer ".as_slice(), &field].concat() } else { field };
            if let Ok(BearerToken(token)) = parse_bytes(&field) {
                prop_assert!(field.ends_with(token.expose_secret().as_bytes()));
            }
        }
    }
}
