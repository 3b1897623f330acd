//! The form that names a token (RFC 7662, section 2.1; RFC 7009, section 2.1).

use tee_session_domain::SessionToken;
use utoipa::{
    ToSchema,
    openapi::{Object, SchemaFormat, Type, schema::ObjectBuilder},
};
use zeroize::Zeroizing;

use crate::{openapi::schemas, problem::ApiError};

/// What `POST /v1/introspect` and `POST /v1/revoke` are asked about.
///
/// `token_type_hint` helps nobody here, where there is one type of token; like parameters of other
/// names it may say anything.
#[derive(Debug, ToSchema)]
pub(crate) struct TokenForm {
    /// `None`: what was sent is no token of ours, and so opens nothing.
    #[schema(schema_with = any_token, required)]
    pub(crate) token: Option<SessionToken>,
}

/// Any text may be asked about: the format is a hint.
fn any_token() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .format(Some(SchemaFormat::Custom("any-token".to_owned())))
        .examples([schemas::TOKEN])
        .build()
}

impl TokenForm {
    /// Parses a whole body. A parameter without a value counts as absent (RFC 6749, section 3.2).
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let (mut token, mut hints) = (None, 0);
        for (name, value) in form_urlencoded::parse(body) {
            match &*name {
                "token" if token.is_some() => {
                    return Err(invalid("The parameter token stands twice"));
                }
                "token" => token = Some(Zeroizing::new(value.into_owned())),
                "token_type_hint" => hints += 1,
                _ => {}
            }
        }
        if hints > 1 {
            return Err(invalid("The parameter token_type_hint stands twice"));
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
    #[case::alone("token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::encoded("%74oken=1b9d6bcd%2Dbbfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::with_a_hint("token_type_hint=access_token&token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::with_an_unknown_hint("token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed&token_type_hint=x")]
    #[case::among_others("a=1&a=2&token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed&client_id=ci&&=")]
    fn the_token_is_found(#[case] body: &str) {
        let form = TokenForm::parse(body.as_bytes()).unwrap();
        assert_eq!(form.token.unwrap().expose_secret(), TOKEN);
    }

    #[rstest]
    #[case::word("token=x")]
    #[case::with_a_space("token=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed+")]
    #[case::upper_case("token=1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED")]
    #[case::not_utf_8("token=%ff%fe")]
    fn what_is_no_token_of_ours_is_none(#[case] body: &str) {
        assert_eq!(TokenForm::parse(body.as_bytes()).unwrap().token, None);
    }

    #[rstest]
    #[case::empty("")]
    #[case::another_name("Token=x")]
    #[case::hint_alone("token_type_hint=access_token")]
    #[case::without_a_value("token=")]
    #[case::twice("token=x&token=x")]
    #[case::twice_once_without_a_value("token=&token=x")]
    #[case::hint_twice("token=x&token_type_hint=a&token_type_hint=b")]
    #[case::json("{\"token\": \"x\"}")]
    fn a_form_that_does_not_name_one_token_is_an_invalid_request(#[case] body: &str) {
        let error = TokenForm::parse(body.as_bytes()).unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_judged_without_a_panic(
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
