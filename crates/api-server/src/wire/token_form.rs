//! Request form with a token, for introspection (RFC 7662, section 2.1) and revocation (RFC 7009,
//! section 2.1).

use std::collections::HashSet;

use tee_session_domain::SessionToken;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema, SchemaFormat, Type, schema::ObjectBuilder},
};
use zeroize::Zeroizing;

use crate::{openapi::schemas, problem::ApiError};

/// Request body of `POST /v1/introspect` and `POST /v1/revoke`.
#[derive(Debug)]
pub(crate) struct TokenForm {
    /// Value of the parameter `token`. `None` if the value does not have the format of a session
    /// token.
    pub(crate) token: Option<SessionToken>,
}

impl PartialSchema for TokenForm {
    /// Describes the form. The schema of `token` allows every text that is not empty, because a
    /// malformed token is not a parse error. For the custom format `any-token`, the API tests
    /// generate well-formed tokens and other texts. The schema allows unknown parameters with one
    /// text as the value. It does not allow lists, because a repeated parameter is an error.
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let token = text()
            .min_length(Some(1))
            .format(Some(SchemaFormat::Custom("any-token".to_owned())))
            .examples([schemas::TOKEN]);
        let form = ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "The token. `token_type_hint` is ignored, because there is only one type of token. \
                 Unknown parameters are ignored as well. A repeated parameter is an error.",
            ))
            .property("token", token)
            .required("token")
            .additional_properties(Some(text()));
        form.into()
    }
}

impl ToSchema for TokenForm {}

impl TokenForm {
    /// Parses a complete request form. Parameters without a value are treated as absent (RFC 6749,
    /// section 3.2). Fails with [`ApiError::InvalidRequest`] if `token` is missing or any parameter
    /// (even an unknown one) is repeated.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let (mut token, mut names) = (None, HashSet::new());
        for (name, value) in form_urlencoded::parse(body) {
            let value = Zeroizing::new(value.into_owned());
            if value.is_empty() {
                continue;
            }
            if name == "token" {
                token = Some(value);
            }
            if !names.insert(name) {
                return Err(invalid("A parameter of the form is repeated"));
            }
        }
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
    #[case::unknown_names("a=1&b=2&token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed&client_id=ci&&=")]
    #[case::repeated_without_a_value(
        "token=&token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed&token&a=&a=1"
    )]
    fn token_parameter_of_a_form_is_parsed(#[case] body: &str) {
        let form = TokenForm::parse(body.as_bytes()).unwrap();
        assert_eq!(form.token.unwrap().expose_secret(), TOKEN);
    }

    #[rstest]
    #[case::word("token=x")]
    #[case::trailing_space("token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed+")]
    #[case::upper_case("token=1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED")]
    #[case::not_utf_8("token=%ff%fe")]
    fn token_parameter_that_is_not_a_session_token_is_parsed_as_none(#[case] body: &str) {
        assert_eq!(TokenForm::parse(body.as_bytes()).unwrap().token, None);
    }

    #[rstest]
    #[case::empty("")]
    #[case::upper_case_name("Token=x")]
    #[case::hint_without_token("token_type_hint=access_token")]
    #[case::empty_token("token=")]
    #[case::repeated_token("token=x&token=x")]
    #[case::repeated_hint("token=x&token_type_hint=a&token_type_hint=b")]
    #[case::repeated_unknown_parameter("token=x&client_id=a&client_id=b")]
    #[case::repeated_unknown_parameter_with_one_value("client_id=a&token=x&client_id=a")]
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
