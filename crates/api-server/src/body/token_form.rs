//! Request form with a token, for introspection (RFC 7662, section 2.1) and revocation (RFC 7009,
//! section 2.1).

use tee_session_domain::SessionToken;
use utoipa::{
    ToSchema,
    openapi::{Object, SchemaFormat, Type, schema::ObjectBuilder},
};
use zeroize::Zeroizing;

use crate::{openapi::schemas, problem::ApiError};

/// Request body of `POST /v1/introspect` and `POST /v1/revoke`.
///
/// The parameter `token_type_hint` is ignored, because there is only one type of token. Unknown
/// parameters are ignored as well.
#[derive(Debug, ToSchema)]
pub(crate) struct TokenForm {
    /// Value of the parameter `token`. `None` if the value does not have the format of a session
    /// token.
    #[schema(schema_with = any_token, required)]
    pub(crate) token: Option<SessionToken>,
}

/// Returns the schema of the parameter `token`. The schema allows every text that is not empty,
/// because a malformed token is not a parse error. For the custom format `any-token`, the API tests
/// generate well-formed tokens and other texts.
fn any_token() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .format(Some(SchemaFormat::Custom("any-token".to_owned())))
        .examples([schemas::TOKEN])
        .build()
}

impl TokenForm {
    /// Parses a complete request form. Fails with [`ApiError::InvalidRequest`] if a known parameter
    /// is repeated, or if `token` is missing. A parameter without a value is treated as absent (RFC
    /// 6749, section 3.2).
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let (mut token, mut hints) = (None, 0);
        for (name, value) in form_urlencoded::parse(body) {
            match &*name {
                "token" if token.is_some() => {
                    return Err(invalid("The parameter token is repeated"));
                }
                "token" => token = Some(Zeroizing::new(value.into_owned())),
                "token_type_hint" => hints += 1,
                _ => {}
            }
        }
        if hints > 1 {
            return Err(invalid("The parameter token_type_hint is repeated"));
        }
        let token = token.filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| invalid("The parameter token is required"))?;
        Ok(Self {
            token: token.parse().ok(),
        })
    }
}

fn invalid(detail: &str) -> ApiError {
    ApiError::InvalidRequest(detail.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const TOKEN: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

    #[rstest]
    #[case::token_only("token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::percent_encoded("%74oken=1b9d6bcd%2Dbbfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::with_a_hint("token_type_hint=access_token&token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::with_an_unknown_hint("token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed&token_type_hint=x")]
    #[case::unknown_names("a=1&a=2&token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed&client_id=ci&&=")]
    fn token_parameter_of_a_form_is_parsed(#[case] body: &str) {
        let form = TokenForm::parse(body.as_bytes()).unwrap();
        assert_eq!(form.token.unwrap().expose_secret(), TOKEN);
    }

    #[rstest]
    #[case::word("token=x")]
    #[case::trailing_space("token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed+")]
    #[case::upper_case("token=1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED")]
    #[case::not_utf_8("token=%ff%fe")]
    fn text_that_is_not_a_session_token_is_parsed_as_none(#[case] body: &str) {
        assert_eq!(TokenForm::parse(body.as_bytes()).unwrap().token, None);
    }

    #[rstest]
    #[case::empty("")]
    #[case::upper_case_name("Token=x")]
    #[case::hint_without_token("token_type_hint=access_token")]
    #[case::empty_token("token=")]
    #[case::repeated_token("token=x&token=x")]
    #[case::repeated_token_one_of_them_empty("token=&token=x")]
    #[case::repeated_hint("token=x&token_type_hint=a&token_type_hint=b")]
    #[case::json("{\"token\": \"x\"}")]
    fn form_with_missing_or_repeated_parameters_is_an_invalid_request(#[case] body: &str) {
        let error = TokenForm::parse(body.as_bytes()).unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }

    proptest! {
        #[test]
        fn parsing_arbitrary_forms_does_not_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let form = [b"token=".as_slice(), &bytes].concat();
            if let Ok(TokenForm { token: Some(token) }) = TokenForm::parse(&form) {
                prop_assert!(token.expose_secret().parse::<SessionToken>().is_ok());
            }
            let _ = TokenForm::parse(&bytes);
        }
    }
}
