//! The body of `POST /v1/sessions`.

use std::{fmt::Display, str::FromStr};

use indexmap::IndexMap;
use tee_session_auth_middleware::InvalidMember;
use tee_session_domain::{AllowedHosts, BaseUrl, Cookies, Label, Login, Subject};
use utoipa::ToSchema;

use super::{
    session_members::{MAX_ERRORS, cookie_pointer, fault, faults_of, no_object, parse_base_url},
    unique_json::UniqueJson,
};
use crate::{openapi::schemas, problem::ApiError};

/// A valid session to create.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateSession {
    #[schema(schema_with = schemas::cookies_to_store)]
    pub(crate) cookies: Cookies,
    #[schema(schema_with = schemas::base_url_to_store)]
    pub(crate) base_url: BaseUrl,
    #[schema(schema_with = schemas::subject, required = false)]
    pub(crate) subject: Option<Subject>,
    #[schema(schema_with = schemas::label, required = false)]
    pub(crate) label: Option<Label>,
}

impl CreateSession {
    /// Parses and validates a whole body; every fault of its members is told at once.
    pub(crate) fn parse(body: &[u8], allowed_hosts: &AllowedHosts) -> Result<Self, ApiError> {
        let UniqueJson::Object(mut members) = UniqueJson::parse(body)? else {
            return Err(no_object());
        };
        let mut take = |name| members.shift_remove(name);
        let (cookies, base_url) = (take("cookies"), take("base_url"));
        let (subject, label) = (take("subject"), take("label"));
        if !members.is_empty() {
            let detail =
                "The request body has members other than cookies, base_url, subject and label";
            return Err(ApiError::InvalidRequest(detail.to_owned()));
        }
        let base_url = base_url.ok_or_else(|| fault("/base_url", "is required"));
        match (
            parse_cookies(cookies),
            base_url.and_then(|value| parse_base_url(value, allowed_hosts)),
            parse_text("/subject", subject),
            parse_text("/label", label),
        ) {
            (Ok(cookies), Ok(base_url), Ok(subject), Ok(label)) => Ok(Self {
                cookies,
                base_url,
                subject,
                label,
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

impl From<CreateSession> for Login {
    fn from(create: CreateSession) -> Self {
        let CreateSession {
            cookies,
            base_url,
            subject,
            label,
        } = create;
        Self {
            cookies,
            base_url,
            subject,
            label,
        }
    }
}

fn parse_cookies(member: Option<UniqueJson>) -> Result<Cookies, Vec<InvalidMember>> {
    let members = match member {
        None => return Err(vec![fault("/cookies", "is required")]),
        Some(UniqueJson::Object(members)) => members,
        Some(_) => return Err(vec![fault("/cookies", "must be an object of strings")]),
    };
    let no_strings = members
        .iter()
        .filter(|(_, value)| !matches!(value, UniqueJson::String(_)));
    let mut errors: Vec<_> = no_strings
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

/// Values that are no strings stand for empty ones here: they are faults already.
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

    fn parse(body: &[u8]) -> Result<CreateSession, ApiError> {
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
    fn a_valid_body_keeps_names_values_and_their_order() {
        let body =
            r#"{"base_url": "https://golf.example", "cookies": {"z": "1", "a": "x;y\u00fc"}}"#;
        let create = parse(body.as_bytes()).unwrap();
        let cookies: Vec<_> = create.cookies.iter().collect();
        assert_eq!(cookies, [("z", "1"), ("a", "x;yü")]);
        assert_eq!(create.base_url.as_str(), "https://golf.example");
    }

    #[test]
    fn whose_it_is_and_what_it_is_called_may_be_said() {
        let body = r#"{"label": "Jörgs Telefon", "subject": "member-4711",
            "base_url": "https://golf.example", "cookies": {"a": "1"}}"#;
        let login = Login::from(parse(body.as_bytes()).unwrap());
        assert_eq!(login.subject, "member-4711".parse().ok());
        assert_eq!(login.label, "Jörgs Telefon".parse().ok());
    }

    #[test]
    fn every_fault_is_told_at_once() {
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
    #[case::list("[]", "")]
    #[case::text("\"x\"", "")]
    #[case::number("1", "")]
    #[case::null("null", "")]
    #[case::no_cookies(r#"{"base_url": "https://golf.example"}"#, "/cookies")]
    #[case::no_base_url(r#"{"cookies": {"a": "1"}}"#, "/base_url")]
    #[case::cookie_list(r#"{"cookies": [], "base_url": "https://golf.example"}"#, "/cookies")]
    #[case::cookie_null(
        r#"{"cookies": {"a": null}, "base_url": "https://golf.example"}"#,
        "/cookies/a"
    )]
    #[case::cookie_object(
        r#"{"cookies": {"a": {}}, "base_url": "https://golf.example"}"#,
        "/cookies/a"
    )]
    #[case::no_cookie(r#"{"cookies": {}, "base_url": "https://golf.example"}"#, "/cookies")]
    #[case::base_url_number(r#"{"cookies": {"a": "1"}, "base_url": 1}"#, "/base_url")]
    fn what_is_no_session_is_pointed_at(#[case] body: &str, #[case] pointer: &str) {
        assert_eq!(faults(body)[0].0, pointer);
    }

    #[rstest]
    #[case::empty("")]
    #[case::half(r#"{"cookies": "#)]
    #[case::trailing(r#"{"cookies": {}, "base_url": ""} x"#)]
    #[case::single_quotes("{'cookies': {}}")]
    #[case::comment("{} // x")]
    #[case::not_a_number("NaN")]
    #[case::byte_order_mark("\u{feff}{}")]
    #[case::huge_number(r#"{"cookies": 1e400}"#)]
    #[case::lone_surrogate(r#"{"cookies": {"a": "\ud800"}}"#)]
    #[case::member_twice(r#"{"cookies": {"a": "1"}, "cookies": {"a": "1"}, "base_url": "x"}"#)]
    #[case::cookie_twice(r#"{"cookies": {"a": "1", "a": "2"}, "base_url": "x"}"#)]
    #[case::deep_member_twice(r#"{"cookies": [{"a": [{"b": 1, "b": 1}]}]}"#)]
    #[case::escaped_member_twice(r#"{"cookies": {"a": "1", "\u0061": "2"}}"#)]
    #[case::unknown_member(
        r#"{"cookies": {"a": "1"}, "base_url": "https://golf.example", "x": 1}"#
    )]
    fn what_is_malformed_is_an_invalid_request(#[case] body: &str) {
        let error = parse(body.as_bytes()).unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }

    #[test]
    fn invalid_utf_8_is_an_invalid_request() {
        let error = parse(b"{\"cookies\": {\"a\": \"\xff\"}}").unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }

    #[test]
    fn deep_nesting_is_an_invalid_request_and_does_not_exhaust_the_stack() {
        let error = parse("[".repeat(60_000).as_bytes()).unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }

    #[test]
    fn the_number_of_faults_told_is_bounded() {
        let cookies: Vec<_> = (0..5_000).map(|n| format!("\"c{n}\": 1")).collect();
        let body = format!(r#"{{"cookies": {{{}}}, "base_url": 1}}"#, cookies.join(","));
        assert_eq!(faults(&body).len(), MAX_ERRORS + 1);
    }

    #[test]
    fn a_host_that_is_not_allowed_is_pointed_at() {
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
        fn whatever_arrives_is_judged_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in r#"[{}\[\]":,a-z0-9\\. -]{0,120}"#,
        ) {
            prop_assert!(parse(&bytes).is_err());
            prop_assert!(parse(text.as_bytes()).is_err());
        }
    }
}
