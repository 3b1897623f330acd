//! Request body of `POST /v1/session/cookies`.

use indexmap::IndexMap;
use tee_session_auth_middleware::InvalidMember;
use tee_session_domain::{CookieUrl, SetCookieLines, parse_cookie_date};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    session_members::{fault, not_an_object},
    unique_json::UniqueJson,
};
use crate::{openapi::schemas, problem::ApiError};

/// Maximum number of `Set-Cookie` lines in a request, equal to the maximum number of cookies in a
/// session.
const MAX_LINES: usize = 180;

/// The `Set-Cookie` lines of an answer of the upstream site.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "describes the body; `parse` returns `SetCookieLines`"
)]
pub(crate) struct MergeCookies {
    #[schema(schema_with = schemas::request_url)]
    url: String,
    #[schema(schema_with = schemas::set_cookie_lines)]
    set_cookie: Vec<String>,
    #[schema(schema_with = schemas::answer_date, required = false)]
    date: Option<String>,
    #[schema(schema_with = schemas::sent_cookies, required = false)]
    sent: (),
}

impl MergeCookies {
    /// Parses and validates the request body of `POST /v1/session/cookies`. If several members are
    /// invalid, the error reports all of them.
    pub(crate) fn parse(body: &[u8]) -> Result<SetCookieLines, ApiError> {
        let UniqueJson::Object(mut members) = UniqueJson::parse(body)? else {
            return Err(not_an_object());
        };
        let mut take = |name| members.shift_remove(name);
        let (url, lines) = (take("url"), take("set_cookie"));
        let (date, sent) = (take("date"), take("sent"));
        if !members.is_empty() {
            let detail = "The request body has an unknown member; the allowed members are url, \
                          set_cookie, date and sent";
            return Err(ApiError::InvalidRequest(detail.to_owned()));
        }
        match (
            parse_url(url),
            parse_lines(lines),
            parse_date(date),
            parse_sent(sent),
        ) {
            (Ok(url), Ok(lines), Ok(date), Ok(sent)) => {
                let mut update = SetCookieLines::new(url, lines);
                if let Some(date) = date {
                    update = update.answered_at(date);
                }
                if let Some(sent) = sent {
                    update = update.sent(sent);
                }
                Ok(update)
            }
            (url, lines, date, sent) => {
                let errors = [url.err(), lines.err(), date.err(), sent.err()];
                Err(ApiError::InvalidSession(
                    errors.into_iter().flatten().collect(),
                ))
            }
        }
    }
}

fn parse_url(member: Option<UniqueJson>) -> Result<CookieUrl, InvalidMember> {
    let url = match member {
        None => return Err(fault("/url", "is required")),
        Some(UniqueJson::String(text)) => CookieUrl::parse(&text),
        Some(_) => None,
    };
    url.ok_or_else(|| fault("/url", "must be an absolute http or https URL"))
}

fn parse_lines(member: Option<UniqueJson>) -> Result<Vec<String>, InvalidMember> {
    let items = match member {
        None => return Err(fault("/set_cookie", "is required")),
        Some(UniqueJson::Array(items)) if items.len() <= MAX_LINES => items,
        Some(_) => {
            let detail = format!("must be an array of at most {MAX_LINES} strings");
            return Err(fault("/set_cookie", detail));
        }
    };
    let lines = items
        .into_iter()
        .enumerate()
        .map(|(index, item)| match item {
            UniqueJson::String(line) => Ok(line),
            _ => Err(fault(format!("/set_cookie/{index}"), "must be a string")),
        });
    let lines: Vec<_> = lines.collect::<Result<_, _>>()?;
    // If every line begins with the name of the header, even if there is only one line, the request
    // is rejected on purpose: a client that sends no values of header fields learns it at once. One
    // such line among others may be a bug of the site. Browsers store its cookie, and the client
    // cannot change the line.
    if !lines.is_empty() && lines.iter().all(|line| has_field_name(line)) {
        let detail = "must contain the values of the header fields, without the name Set-Cookie:";
        return Err(fault("/set_cookie", detail));
    }
    Ok(lines)
}

/// Returns `true` if `line` begins with `Set-Cookie:` in any case.
fn has_field_name(line: &str) -> bool {
    let name = line.get(.."Set-Cookie:".len());
    name.is_some_and(|name| name.eq_ignore_ascii_case("Set-Cookie:"))
}

/// Parses the header field `Date` of an answer. A text that is no date is ignored: the site has sent
/// it, and the client must not lose the cookies of the answer for that reason.
fn parse_date(member: Option<UniqueJson>) -> Result<Option<OffsetDateTime>, InvalidMember> {
    match member {
        None | Some(UniqueJson::Null) => Ok(None),
        Some(UniqueJson::String(text)) => Ok(parse_cookie_date(&text)),
        Some(_) => Err(fault("/date", "must be a string or null")),
    }
}

type Sent = IndexMap<String, Option<String>>;

fn parse_sent(member: Option<UniqueJson>) -> Result<Option<Sent>, InvalidMember> {
    let members = match member {
        None | Some(UniqueJson::Null) => return Ok(None),
        Some(UniqueJson::Object(members)) => members,
        Some(_) => return Err(fault("/sent", "must be an object of strings and nulls")),
    };
    let mut sent = Sent::new();
    for (name, value) in members {
        let value = match value {
            UniqueJson::String(value) => Some(value),
            UniqueJson::Null => None,
            UniqueJson::Object(_) | UniqueJson::Array(_) | UniqueJson::Other => {
                return Err(fault("/sent", "must be an object of strings and nulls"));
            }
        };
        sent.insert(name, value);
    }
    Ok(Some(sent))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn pointers(body: &str) -> Vec<String> {
        match MergeCookies::parse(body.as_bytes()) {
            Err(ApiError::InvalidSession(errors)) => {
                errors.into_iter().map(|error| error.pointer).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case::minimal(r#"{"url": "https://golf.example/", "set_cookie": []}"#)]
    #[case::null(
        r#"{"url": "https://golf.example/", "set_cookie": ["a=1"], "date": null, "sent": null}"#
    )]
    #[case::date_of_a_site_that_is_no_date(
        r#"{"url": "https://golf.example/", "set_cookie": ["a=1"], "date": "yesterday"}"#
    )]
    #[case::name_of_the_header_in_one_of_several_lines(
        r#"{"url": "https://golf.example/", "set_cookie": ["Set-Cookie: a=1", "b=2"]}"#
    )]
    #[case::all(
        r#"{"url": "https://golf.example/x?y", "set_cookie": ["a=1", ""],
            "date": "Sun, 06 Nov 1994 08:49:37 GMT", "sent": {"a": "0", "flag": null}}"#
    )]
    fn valid_body_of_a_merge_request_is_accepted(#[case] body: &str) {
        assert!(MergeCookies::parse(body.as_bytes()).is_ok());
    }

    #[rstest]
    #[case::nothing("{}", &["/url", "/set_cookie"])]
    #[case::list("[]", &[""])]
    #[case::relative_url(r#"{"url": "/x", "set_cookie": []}"#, &["/url"])]
    #[case::other_scheme(r#"{"url": "ftp://golf.example", "set_cookie": []}"#, &["/url"])]
    #[case::one_line(r#"{"url": "https://golf.example", "set_cookie": "a=1"}"#, &["/set_cookie"])]
    #[case::not_a_line(
        r#"{"url": "https://golf.example", "set_cookie": ["a=1", 7]}"#,
        &["/set_cookie/1"]
    )]
    #[case::only_line_with_the_name_of_the_header(
        r#"{"url": "https://golf.example", "set_cookie": ["Set-Cookie: a=1"]}"#,
        &["/set_cookie"]
    )]
    #[case::lines_with_the_name_of_the_header(
        r#"{"url": "https://golf.example", "set_cookie": ["Set-Cookie: a=1", "set-cookie:b=2"]}"#,
        &["/set_cookie"]
    )]
    #[case::several(
        r#"{"url": 1, "set_cookie": null, "date": 7, "sent": {"a": 1}}"#,
        &["/url", "/set_cookie", "/date", "/sent"]
    )]
    fn error_pointers_name_the_invalid_members_of_a_merge_request(
        #[case] body: &str,
        #[case] expected: &[&str],
    ) {
        assert_eq!(pointers(body), expected);
    }

    #[test]
    fn more_than_180_set_cookie_lines_are_rejected() {
        let lines = vec![r#""a=1""#; MAX_LINES + 1].join(",");
        let body = format!(r#"{{"url": "https://golf.example", "set_cookie": [{lines}]}}"#);
        assert_eq!(pointers(&body), ["/set_cookie"]);
    }

    #[test]
    fn unknown_member_of_a_merge_request_is_rejected() {
        let body = br#"{"url": "https://golf.example", "set_cookie": [], "cookies": {}}"#;
        let error = MergeCookies::parse(body).unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }
}
