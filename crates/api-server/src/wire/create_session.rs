//! Request body of `POST /v1/sessions`.

use tee_session_auth_middleware::InvalidMember;
use tee_session_domain::{AllowedHosts, BaseUrl, CookieProblem, Cookies, Login};
use utoipa::ToSchema;

use super::{
    session_attributes::{ATTRIBUTE_NAMES, take_attributes},
    session_members::{
        MAX_ERRORS, cookie_fault, cookie_pointer, fault, not_an_object, parse_base_url,
    },
    unique_json::UniqueJson,
};
use crate::{openapi::schemas, problem::ApiError};

/// A login at the upstream site, to be stored as a session.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the body; `parse` returns a `Login`")]
pub(crate) struct CreateSession {
    #[schema(schema_with = schemas::cookies_to_store)]
    cookies: Cookies,
    #[schema(schema_with = schemas::base_url_to_store)]
    base_url: BaseUrl,
    // `AttributeMembers::add_to_schemas` adds the session attributes to the schema.
}

/// Parsed request body of `POST /v1/sessions`.
#[derive(Debug)]
pub(crate) struct ParsedLogin {
    pub(crate) login: Login,
    /// Cookies of the request that are not part of `login`, because they break a rule for the
    /// cookies of a session.
    pub(crate) ignored: Vec<CookieProblem>,
}

impl CreateSession {
    /// Parses and validates the request body of `POST /v1/sessions`. Leaves out cookies that a
    /// session cannot hold, and does not reject the request: the client only passes on the cookies
    /// of a site, and cannot correct them. If several members are invalid, the error lists all of
    /// them, but at most [`MAX_ERRORS`] errors for cookies.
    pub(crate) fn parse(
        body: &[u8],
        allowed_hosts: &AllowedHosts,
    ) -> Result<ParsedLogin, ApiError> {
        let UniqueJson::Object(mut members) = UniqueJson::parse(body)? else {
            return Err(not_an_object());
        };
        let mut take = |name| members.shift_remove(name);
        let (cookies, base_url) = (take("cookies"), take("base_url"));
        let attributes = take_attributes(&mut members);
        if !members.is_empty() {
            return Err(ApiError::InvalidRequest(format!(
                "The request body has an unknown member; the allowed members are cookies, \
                 base_url, {ATTRIBUTE_NAMES}"
            )));
        }
        let base_url = base_url.ok_or_else(|| fault("/base_url", "is required"));
        match (
            parse_cookies(cookies),
            base_url.and_then(|value| parse_base_url(value, allowed_hosts)),
            attributes,
        ) {
            (Ok((cookies, ignored)), Ok(base_url), Ok(attributes)) => {
                let login = Login {
                    attributes,
                    ..Login::new(cookies, base_url)
                };
                Ok(ParsedLogin { login, ignored })
            }
            (cookies, base_url, attributes) => {
                let mut errors = cookies.err().unwrap_or_default();
                errors.truncate(MAX_ERRORS);
                errors.extend(base_url.err());
                errors.extend(attributes.err().unwrap_or_default());
                Err(ApiError::InvalidSession(errors))
            }
        }
    }
}

/// Parses the member `cookies`. Returns the cookies that a session can hold, and the cookies that
/// it cannot hold. Fails if a value is neither a string nor null, or if there are cookies and a
/// session can hold none of them.
fn parse_cookies(
    member: Option<UniqueJson>,
) -> Result<(Cookies, Vec<CookieProblem>), Vec<InvalidMember>> {
    let members = match member {
        None => return Err(vec![fault("/cookies", "is required")]),
        Some(UniqueJson::Object(members)) => members,
        Some(_) => {
            return Err(vec![fault(
                "/cookies",
                "must be an object of strings and nulls",
            )]);
        }
    };
    let mut given = Vec::with_capacity(members.len());
    let mut errors = Vec::new();
    for (name, value) in members {
        match value {
            UniqueJson::String(text) => given.push((name, Some(text))),
            UniqueJson::Null => given.push((name, None)),
            UniqueJson::Object(_) | UniqueJson::Array(_) | UniqueJson::Other => {
                errors.push(fault(cookie_pointer(&name), "must be a string or null"));
            }
        }
    }
    let (cookies, ignored) = Cookies::keep_valid(given);
    if cookies.is_empty() {
        let unusable = ignored.iter();
        errors.extend(unusable.map(|problem| cookie_fault(&problem.cookie, problem.rule)));
    }
    if errors.is_empty() {
        Ok((cookies, ignored))
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use tee_session_domain::SessionAttributes;

    use super::*;

    fn parse(body: &[u8]) -> Result<Login, ApiError> {
        CreateSession::parse(body, &AllowedHosts::default()).map(|parsed| parsed.login)
    }

    fn faults(body: &str) -> Vec<(String, String)> {
        match parse(body.as_bytes()) {
            Err(ApiError::InvalidSession(errors)) => errors
                .into_iter()
                .map(|error| (error.pointer, error.detail))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn valid_body_keeps_names_values_and_order_of_cookies() {
        let body = r#"{"base_url": "https://golf.example", "cookies": {"Cookie: z": "1", "a": "x;y\u00fc"}}"#;
        let create = parse(body.as_bytes()).unwrap();
        let cookies: Vec<_> = create.cookies.iter().collect();
        assert_eq!(cookies, [("Cookie: z", Some("1")), ("a", Some("x;yü"))]);
        assert_eq!(create.base_url.as_str(), "https://golf.example");
    }

    #[test]
    fn body_without_attributes_and_with_an_empty_object_of_cookies_is_valid() {
        let login = parse(br#"{"cookies": {}, "base_url": "https://golf.example"}"#).unwrap();
        assert_eq!(login.attributes, SessionAttributes::default());
        assert!(login.cookies.is_empty());
    }

    #[test]
    fn attributes_are_part_of_the_login() {
        let body = br#"{"cookies": {}, "base_url": "https://golf.example", "subject": "alice"}"#;
        let attributes = parse(body).unwrap().attributes;
        let expected = SessionAttributes::of_subject("alice".parse().unwrap());
        assert_eq!(attributes, expected);
    }

    #[test]
    fn cookies_that_a_session_cannot_hold_are_left_out() {
        let body = r#"{"cookies": {"a[b]": "1", "x;y": "2", "my cookie": null, "l": "\n", "": "t"},
            "base_url": "https://golf.example"}"#;
        let parsed = CreateSession::parse(body.as_bytes(), &AllowedHosts::default()).unwrap();
        let cookies: Vec<_> = parsed.login.cookies.iter().collect();
        let expected = [("a[b]", Some("1")), ("my cookie", None), ("", Some("t"))];
        assert_eq!(cookies, expected);
        let ignored: Vec<_> = parsed
            .ignored
            .iter()
            .map(|problem| &problem.cookie)
            .collect();
        assert_eq!(ignored, ["x;y", "l"]);
    }

    #[test]
    fn errors_of_all_invalid_members_are_reported_together() {
        let body = r#"{"cookies": {"a/b~c": 1, "bad;name": "1", "n": "x\n"}, "base_url": "x",
            "subject": "", "label": 1}"#;
        let pointers: Vec<_> = faults(body)
            .into_iter()
            .map(|(pointer, _)| pointer)
            .collect();
        assert_eq!(
            pointers,
            [
                "/cookies/a~1b~0c",
                "/cookies/bad;name",
                "/cookies/n",
                "/base_url",
                "/subject",
                "/label"
            ]
        );
    }

    #[rstest]
    #[case::body_is_a_list("[]", "")]
    #[case::body_is_a_string("\"x\"", "")]
    #[case::body_is_a_number("1", "")]
    #[case::body_is_null("null", "")]
    #[case::missing_cookies(r#"{"base_url": "https://golf.example"}"#, "/cookies")]
    #[case::missing_base_url(r#"{"cookies": {"a": "1"}}"#, "/base_url")]
    #[case::cookies_are_a_list(
        r#"{"cookies": [], "base_url": "https://golf.example"}"#,
        "/cookies"
    )]
    #[case::only_unusable_cookies(
        r#"{"cookies": {"a b ": "1"}, "base_url": "https://golf.example"}"#,
        "/cookies/a b "
    )]
    #[case::cookie_of_another_type_among_others(
        r#"{"cookies": {"a": "1", "b": false}, "base_url": "https://golf.example"}"#,
        "/cookies/b"
    )]
    #[case::cookie_is_an_object(
        r#"{"cookies": {"a": {}}, "base_url": "https://golf.example"}"#,
        "/cookies/a"
    )]
    #[case::base_url_is_a_number(r#"{"cookies": {"a": "1"}, "base_url": 1}"#, "/base_url")]
    fn error_pointer_names_the_invalid_member(#[case] body: &str, #[case] pointer: &str) {
        assert_eq!(faults(body)[0].0, pointer);
    }

    #[rstest]
    #[case::empty("")]
    #[case::incomplete(r#"{"cookies": "#)]
    #[case::trailing_text(r#"{"cookies": {}, "base_url": ""} x"#)]
    #[case::single_quotes("{'cookies': {}}")]
    #[case::comment("{} // x")]
    #[case::nan("NaN")]
    #[case::byte_order_mark("\u{feff}{}")]
    #[case::huge_number(r#"{"cookies": 1e400}"#)]
    #[case::lone_surrogate(r#"{"cookies": {"a": "\ud800"}}"#)]
    #[case::repeated_member(r#"{"cookies": {"a": "1"}, "cookies": {"a": "1"}, "base_url": "x"}"#)]
    #[case::repeated_cookie(r#"{"cookies": {"a": "1", "a": "2"}, "base_url": "x"}"#)]
    #[case::repeated_nested_member(r#"{"cookies": [{"a": [{"b": 1, "b": 1}]}]}"#)]
    #[case::repeated_escaped_member(r#"{"cookies": {"a": "1", "\u0061": "2"}}"#)]
    #[case::unknown_member(
        r#"{"cookies": {"a": "1"}, "base_url": "https://golf.example", "x": 1}"#
    )]
    fn malformed_json_or_unknown_member_is_an_invalid_request(#[case] body: &str) {
        let error = parse(body.as_bytes()).unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }

    #[test]
    fn body_with_invalid_utf_8_is_an_invalid_request() {
        let error = parse(b"{\"cookies\": {\"a\": \"\xff\"}}").unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }

    #[test]
    fn deeply_nested_body_is_an_invalid_request_and_does_not_overflow_the_stack() {
        let error = parse("[".repeat(60_000).as_bytes()).unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }

    #[test]
    fn at_most_50_invalid_cookies_are_reported() {
        let cookies: Vec<_> = (0..5_000).map(|n| format!("\"c{n}\": 1")).collect();
        let body = format!(r#"{{"cookies": {{{}}}, "base_url": 1}}"#, cookies.join(","));
        assert_eq!(faults(&body).len(), MAX_ERRORS + 1);
    }

    #[test]
    fn base_url_with_a_host_that_is_not_allowed_is_rejected() {
        let allowed = "golf.example".parse().unwrap();
        let body = |host| format!(r#"{{"cookies": {{"a": "1"}}, "base_url": "https://{host}"}}"#);
        assert!(CreateSession::parse(body("golf.example").as_bytes(), &allowed).is_ok());
        let error = CreateSession::parse(body("evil.example").as_bytes(), &allowed).unwrap_err();
        let ApiError::InvalidSession(errors) = error else {
            panic!("{error:?}")
        };
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].pointer, "/base_url");
    }

    proptest! {
        #[test]
        fn parsing_arbitrary_bodies_does_not_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in r#"[{}\[\]":,a-z0-9\\. -]{0,120}"#,
        ) {
            prop_assert!(parse(&bytes).is_err());
            prop_assert!(parse(text.as_bytes()).is_err());
        }
    }
}
