//! Request body of `PATCH /v1/session`: a JSON Merge Patch (RFC 7396).

use tee_session_auth_middleware::InvalidMember;
use tee_session_domain::{AllowedHosts, Cookies, SessionPatch};

use utoipa::ToSchema;

use super::{
    session_members::{
        MAX_ERRORS, cookie_fault, cookie_pointer, fault, not_an_object, parse_base_url,
    },
    unique_json::UniqueJson,
};
use crate::{openapi::schemas, problem::ApiError};

/// A JSON Merge Patch (RFC 7396).
#[derive(ToSchema)]
#[schema(as = SessionPatch)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "serves only as a schema; `parse_patch` makes a `SessionPatch`"
)]
pub(crate) struct SessionPatchBody {
    #[schema(schema_with = schemas::cookies_to_change, required = false)]
    cookies: (),
    #[schema(schema_with = schemas::base_url_to_store, required = false)]
    base_url: (),
}

/// Parses and validates the request body of `PATCH /v1/session`. The error reports all invalid
/// members, but at most [`MAX_ERRORS`] errors for cookies. Rules that depend on the stored session
/// are not checked here.
///
/// A body that is not a JSON object is rejected, because such a patch would replace the whole
/// session (RFC 7396).
pub(crate) fn parse_patch(
    body: &[u8],
    allowed_hosts: &AllowedHosts,
) -> Result<SessionPatch, ApiError> {
    let UniqueJson::Object(mut members) = UniqueJson::parse(body)? else {
        return Err(not_an_object());
    };
    let (cookies, base_url) = (
        members.shift_remove("cookies"),
        members.shift_remove("base_url"),
    );
    if !members.is_empty() {
        let detail = "The patch has an unknown member; only cookies and base_url can be changed";
        return Err(ApiError::InvalidRequest(detail.to_owned()));
    }
    let base_url = base_url
        .map(|value| parse_base_url(value, allowed_hosts))
        .transpose();
    let patch = cookies.map_or_else(|| Ok(SessionPatch::default()), parse_cookies);
    match (patch, base_url) {
        (Ok(patch), Ok(None)) => Ok(patch),
        (Ok(patch), Ok(Some(base_url))) => Ok(patch.set_base_url(base_url)),
        (patch, base_url) => {
            let mut errors = patch.err().unwrap_or_default();
            errors.truncate(MAX_ERRORS);
            errors.extend(base_url.err());
            Err(ApiError::InvalidSession(errors))
        }
    }
}

/// Parses the member `cookies` of a patch. The names of cookies to remove are not validated,
/// because a session that another program stored may have cookie names that this service does not
/// accept.
fn parse_cookies(value: UniqueJson) -> Result<SessionPatch, Vec<InvalidMember>> {
    let UniqueJson::Object(members) = value else {
        return Err(vec![fault(
            "/cookies",
            "must be an object of strings and nulls",
        )]);
    };
    let mut patch = SessionPatch::default();
    let mut errors = Vec::new();
    for (name, value) in members {
        match value {
            UniqueJson::String(text) => match Cookies::check(&name, Some(&text)) {
                Ok(()) => patch = patch.set_cookie(name, text),
                Err(rule) => errors.push(cookie_fault(&name, rule)),
            },
            UniqueJson::Null => patch = patch.remove_cookie(name),
            UniqueJson::Object(_) | UniqueJson::Array(_) | UniqueJson::Other => {
                errors.push(fault(cookie_pointer(&name), "must be a string or null"));
            }
        }
    }
    if errors.is_empty() {
        Ok(patch)
    } else {
        Err(errors)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use tee_session_domain::{BaseUrl, Login, Session};
    use time::OffsetDateTime;

    use super::*;

    fn parse(body: &[u8]) -> Result<SessionPatch, ApiError> {
        parse_patch(body, &"golf.example".parse().unwrap())
    }

    fn session() -> Session {
        let cookies = [("a", "1"), ("b", "2")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let cookies = Cookies::new(cookies).unwrap();
        let login = Login::new(cookies, BaseUrl::new("https://golf.example").unwrap());
        Session::new(login, OffsetDateTime::UNIX_EPOCH, None)
    }

    fn faults(body: &str) -> Vec<String> {
        match parse(body.as_bytes()) {
            Err(ApiError::InvalidSession(errors)) => {
                errors.into_iter().map(|error| error.pointer).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Test cases based on the examples in RFC 7396, appendix A, with cookies in place of the JSON
    /// members.
    #[rstest]
    #[case::empty_patch("{}", &[("a", "1"), ("b", "2")])]
    #[case::empty_cookies(r#"{"cookies": {}}"#, &[("a", "1"), ("b", "2")])]
    #[case::changed_value(r#"{"cookies": {"a": "3"}}"#, &[("a", "3"), ("b", "2")])]
    #[case::added_cookie(r#"{"cookies": {"c": "3"}}"#, &[("a", "1"), ("b", "2"), ("c", "3")])]
    #[case::removed_cookie(r#"{"cookies": {"a": null}}"#, &[("b", "2")])]
    #[case::replaced_cookies(r#"{"cookies": {"a": null, "c": "3", "b": null}}"#, &[("c", "3")])]
    #[case::removed_all_cookies(r#"{"cookies": {"a": null, "b": null}}"#, &[])]
    #[case::odd_name(
        r#"{"cookies": {"Cookie: my [cookie]": "x\ty"}}"#,
        &[("a", "1"), ("b", "2"), ("Cookie: my [cookie]", "x\ty")]
    )]
    #[case::removed_unknown_cookie(
        r#"{"cookies": {"no such cookie": null}}"#,
        &[("a", "1"), ("b", "2")]
    )]
    fn a_patch_sets_and_removes_cookies(#[case] body: &str, #[case] expected: &[(&str, &str)]) {
        let patched = parse(body.as_bytes()).unwrap().apply(&session()).unwrap();
        let cookies = patched.cookies.iter();
        let cookies: Vec<_> = cookies
            .map(|(name, value)| (name, value.unwrap()))
            .collect();
        assert_eq!(cookies, expected);
        assert_eq!(patched.base_url, session().base_url);
    }

    #[test]
    fn patch_of_the_base_url_keeps_the_cookies() {
        let body = br#"{"base_url": "https://golf.example/members"}"#;
        let patched = parse(body).unwrap().apply(&session()).unwrap();
        assert_eq!(patched.base_url.as_str(), "https://golf.example/members");
        assert_eq!(patched.cookies, session().cookies);
    }

    #[rstest]
    #[case::patch_is_a_list("[]", &[""])]
    #[case::patch_is_null("null", &[""])]
    #[case::cookies_are_null(r#"{"cookies": null}"#, &["/cookies"])]
    #[case::cookies_are_a_list(r#"{"cookies": []}"#, &["/cookies"])]
    #[case::cookie_is_a_number(r#"{"cookies": {"a": 1}}"#, &["/cookies/a"])]
    #[case::cookie_is_an_object(r#"{"cookies": {"a": {"b": null}}}"#, &["/cookies/a"])]
    #[case::value_with_line_feed(r#"{"cookies": {"a": "\n"}}"#, &["/cookies/a"])]
    #[case::name_with_semicolon(r#"{"cookies": {"a;b": "1"}}"#, &["/cookies/a;b"])]
    #[case::base_url_is_null(r#"{"base_url": null}"#, &["/base_url"])]
    #[case::base_url_is_a_number(r#"{"base_url": 1}"#, &["/base_url"])]
    #[case::base_url_is_relative(r#"{"base_url": "/x"}"#, &["/base_url"])]
    #[case::host_is_not_allowed(r#"{"base_url": "https://evil.example"}"#, &["/base_url"])]
    #[case::several_faults(
        r#"{"cookies": {"a": 1, "b": "\n", "c": "1"}, "base_url": null}"#,
        &["/cookies/a", "/cookies/b", "/base_url"]
    )]
    fn error_pointers_name_the_invalid_members_of_a_patch(
        #[case] body: &str,
        #[case] pointers: &[&str],
    ) {
        assert_eq!(faults(body), pointers);
    }

    #[test]
    fn at_most_50_invalid_cookies_are_reported() {
        let cookies: Vec<_> = (0..5_000).map(|n| format!("\"c{n}\": 1")).collect();
        let body = format!(r#"{{"cookies": {{{}}}, "base_url": 1}}"#, cookies.join(","));
        assert_eq!(faults(&body).len(), MAX_ERRORS + 1);
    }

    #[rstest]
    #[case::empty("")]
    #[case::repeated_member(r#"{"base_url": "x", "base_url": "x"}"#)]
    #[case::repeated_cookie(r#"{"cookies": {"a": "1", "a": null}}"#)]
    #[case::subject_cannot_change(r#"{"subject": "member-4711"}"#)]
    #[case::label_cannot_change(r#"{"label": null}"#)]
    #[case::created_at_cannot_change(r#"{"created_at": "2026-01-15T10:30:00Z"}"#)]
    fn malformed_json_or_unchangeable_member_is_an_invalid_request(#[case] body: &str) {
        let error = parse(body.as_bytes()).unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }

    proptest! {
        #[test]
        fn parsing_and_applying_arbitrary_patches_does_not_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cookies in r#"[{}\[\]":,a-z0-9\\. -]{0,60}"#,
        ) {
            let body = format!(r#"{{"cookies": {{"a": null, {cookies}}}}}"#);
            for body in [&bytes, body.as_bytes()] {
                if let Ok(patch) = parse(body) {
                    let _ = patch.apply(&session());
                }
            }
        }
    }
}
