//! Request body of `POST /v1/sessions`.

use std::{fmt::Display, str::FromStr};

use indexmap::IndexMap;
use tee_session_auth_middleware::InvalidMember;
use tee_session_domain::{
    AllowedHosts, BaseUrl, Cookies, Label, Login, SessionAttributes, Subject,
};
use utoipa::ToSchema;

use super::{
    session_members::{
        MAX_ERRORS, cookie_pointer, fault, faults_of, not_an_object, parse_base_url,
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
    #[schema(schema_with = schemas::subject, required = false)]
    subject: Option<Subject>,
    #[schema(schema_with = schemas::label, required = false)]
    label: Option<Label>,
}

impl CreateSession {
    /// Parses and validates the request body of `POST /v1/sessions`. If several members are
    /// invalid, the error reports all of them, but at most [`MAX_ERRORS`] errors for cookies.
    pub(crate) fn parse(body: &[u8], allowed_hosts: &AllowedHosts) -> Result<Login, ApiError> {
        let UniqueJson::Object(mut members) = UniqueJson::parse(body)? else {
            return Err(not_an_object());
        };
        let mut take = |name| members.shift_remove(name);
        let (cookies, base_url) = (take("cookies"), take("base_url"));
        let (subject, label) = (take("subject"), take("label"));
        if !members.is_empty() {
            let detail = "The request body has an unknown member; the allowed members are cookies, \
                          base_url, subject and label";
            return Err(ApiError::InvalidRequest(detail.to_owned()));
        }
        let base_url = base_url.ok_or_else(|| fault("/base_url", "is required"));
        match (
            parse_cookies(cookies),
            base_url.and_then(|value| parse_base_url(value, allowed_hosts)),
            parse_text("/subject", subject),
            parse_text("/label", label),
        ) {
            (Ok(cookies), Ok(base_url), Ok(subject), Ok(label)) => Ok(Login {
                cookies,
                base_url,
                attributes: SessionAttributes { subject, label },
            }),
            (cookies, base_url, subject, label) => {
                let mut errors = cookies.err().unwrap_or_default();
                errors.truncate(MAX_ERRORS);
                errors.extend(base_url.err());
                errors.extend(subject.err());
                errors.extend(label.err());
                Err(ApiError::InvalidSession(errors))
            }
        }
    }
}

fn parse_cookies(member: Option<UniqueJson>) -> Result<Cookies, Vec<InvalidMember>> {
    let members = match member {
        None => return Err(vec![fault("/cookies", "is required")]),
        Some(UniqueJson::Object(members)) => members,
        Some(_) => return Err(vec![fault("/cookies", "must be an object of strings")]),
    };
    let other_types = members
        .iter()
        .filter(|(_, value)| !matches!(value, UniqueJson::String(_)));
    let mut errors: Vec<_> = other_types
        .map(|(name, _)| fault(cookie_pointer(name), "must be a string"))
        .collect();
    match Cookies::new(texts(members)) {
        Ok(cookies) if errors.is_empty() => Ok(cookies),
        Ok(_) => Err(errors),
        Err(error) => {
            errors.extend(faults_of(error));
            Err(errors)
        }
    }
}

/// Returns the names and values of the cookies. A value that is not a string is replaced by an
/// empty string, because `parse_cookies` already reports an error for that value.
fn texts(members: IndexMap<String, UniqueJson>) -> impl Iterator<Item = (String, String)> {
    members.into_iter().map(|(name, value)| match value {
        UniqueJson::String(text) => (name, text),
        UniqueJson::Object(_) | UniqueJson::Null | UniqueJson::Other => (name, String::new()),
    })
}

fn parse_text<T: FromStr<Err: Display>>(
    pointer: &str,
    member: Option<UniqueJson>,
) -> Result<Option<T>, InvalidMember> {
    match member {
        None => Ok(None),
        Some(UniqueJson::String(text)) => {
            let value = text.parse().map(Some);
            value.map_err(|error: T::Err| fault(pointer, error.to_string()))
        }
        Some(_) => Err(fault(pointer, "must be a string")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn parse(body: &[u8]) -> Result<Login, ApiError> {
        CreateSession::parse(body, &AllowedHosts::default())
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
        let body =
            r#"{"base_url": "https://golf.example", "cookies": {"z": "1", "a": "x;y\u00fc"}}"#;
        let create = parse(body.as_bytes()).unwrap();
        let cookies: Vec<_> = create.cookies.iter().collect();
        assert_eq!(cookies, [("z", "1"), ("a", "x;yü")]);
        assert_eq!(create.base_url.as_str(), "https://golf.example");
    }

    #[test]
    fn optional_subject_and_label_are_parsed() {
        let body = r#"{"label": "Jörgs Telefon", "subject": "member-4711",
            "base_url": "https://golf.example", "cookies": {"a": "1"}}"#;
        let attributes = parse(body.as_bytes()).unwrap().attributes;
        assert_eq!(attributes.subject, "member-4711".parse().ok());
        assert_eq!(attributes.label, "Jörgs Telefon".parse().ok());
    }

    #[test]
    fn errors_of_all_invalid_members_are_reported_together() {
        let body = r#"{"cookies": {"a/b~c": 1, "bad name": "1", "ok": "x\n"}, "base_url": "x",
            "subject": "", "label": 1}"#;
        let pointers: Vec<_> = faults(body)
            .into_iter()
            .map(|(pointer, _)| pointer)
            .collect();
        assert_eq!(
            pointers,
            [
                "/cookies/a~1b~0c",
                "/cookies",
                "/cookies",
                "/cookies/ok",
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
    #[case::cookie_is_null(
        r#"{"cookies": {"a": null}, "base_url": "https://golf.example"}"#,
        "/cookies/a"
    )]
    #[case::cookie_is_an_object(
        r#"{"cookies": {"a": {}}, "base_url": "https://golf.example"}"#,
        "/cookies/a"
    )]
    #[case::empty_cookies(r#"{"cookies": {}, "base_url": "https://golf.example"}"#, "/cookies")]
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
