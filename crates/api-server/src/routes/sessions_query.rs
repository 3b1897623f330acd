//! Query parameters of `/v1/sessions`: `subject`, `limit` and `after`.

use percent_encoding::percent_decode_str;
use tee_session_domain::{IndexCursor, InvalidSubject, Subject};

use crate::problem::ApiError;

pub(crate) const DEFAULT_LIMIT: usize = 50;

pub(crate) const MAX_LIMIT: usize = 100;

/// Parsed query parameters of `GET /v1/sessions`. Error messages never repeat text from the query.
#[derive(Debug)]
pub(crate) struct SessionsQuery {
    pub(crate) subject: Subject,
    /// Maximum number of sessions on the page.
    pub(crate) limit: usize,
    /// Cursor of the last session of the previous page. `None` requests the first page.
    pub(crate) after: Option<IndexCursor>,
}

impl SessionsQuery {
    /// Parses the query of `GET /v1/sessions`: `subject`, and optionally `limit` and `after`.
    pub(crate) fn parse_list(query: &str) -> Result<Self, ApiError> {
        let [subject, limit, after] = parameters(query, ["subject", "limit", "after"])?;
        Ok(Self {
            subject: parse_subject(subject)?,
            limit: limit.map_or(Ok(DEFAULT_LIMIT), |text| parse_limit(&text))?,
            after: after.map(|text| parse_cursor(&text)).transpose()?,
        })
    }

    /// Parses the query of `GET /v1/sessions/{session_id}`, in which only `subject` is allowed.
    /// Returns the subject, or `None` if the query has no parameter.
    pub(crate) fn parse_show(query: &str) -> Result<Option<Subject>, ApiError> {
        let [subject] = parameters(query, ["subject"])?;
        subject.map(|text| parse_subject(Some(text))).transpose()
    }

    /// Parses the query of `DELETE /v1/sessions`, in which only `subject` is allowed. Returns the
    /// subject.
    pub(crate) fn parse_revoke_all(query: &str) -> Result<Subject, ApiError> {
        let [subject] = parameters(query, ["subject"])?;
        parse_subject(subject)
    }
}

/// Returns the values of the query parameters `names`, in the order of `names`. The value of a
/// missing parameter is `None`. Rejects unknown and repeated parameters.
///
/// The check is strict on purpose. A `DELETE` request ends the sessions that its query selects, so
/// a misunderstood parameter could end the wrong sessions.
fn parameters<const N: usize>(
    query: &str,
    names: [&str; N],
) -> Result<[Option<String>; N], ApiError> {
    if !is_well_encoded(query.as_bytes()) {
        return Err(invalid("The percent-encoding of the query is malformed"));
    }
    // The parser of forms would replace invalid UTF-8 by other characters, and the result could be
    // the name of another subject.
    if percent_decode_str(query).decode_utf8().is_err() {
        return Err(invalid("The query is not valid UTF-8"));
    }
    let mut values = [const { None }; N];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(index) = names.iter().position(|known| *known == name) else {
            return Err(invalid("The query has an unknown parameter"));
        };
        if values[index].replace(value.into_owned()).is_some() {
            return Err(invalid("A parameter of the query is repeated"));
        }
    }
    Ok(values)
}

fn is_well_encoded(query: &[u8]) -> bool {
    let mut pieces = query.split(|byte| *byte == b'%');
    pieces.next();
    pieces.all(|piece| {
        let digits = piece.get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn parse_subject(text: Option<String>) -> Result<Subject, ApiError> {
    let text = text.ok_or_else(|| invalid("The parameter subject is required"))?;
    text.parse().map_err(|error: InvalidSubject| {
        invalid(&format!("The parameter subject is invalid: {error}"))
    })
}

fn parse_limit(text: &str) -> Result<usize, ApiError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().filter(|_| is_number);
    limit
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| invalid("The parameter limit must be a whole number from 1 to 100"))
}

fn parse_cursor(text: &str) -> Result<IndexCursor, ApiError> {
    let detail = "The parameter after must be the next cursor of the previous page";
    text.parse().map_err(|_| invalid(detail))
}

fn invalid(detail: &str) -> ApiError {
    ApiError::InvalidRequest(detail.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const CURSOR: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[rstest]
    #[case::subject_only("subject=member-4711", "member-4711", 50, false)]
    #[case::percent_encoded("%73ubject=auth0%7C4711%2B%25", "auth0|4711+%", 50, false)]
    #[case::not_percent_encoded("subject=a/b?c:d@e|f", "a/b?c:d@e|f", 50, false)]
    #[case::limit("subject=a&limit=1", "a", 1, false)]
    #[case::maximum_limit("limit=100&subject=a", "a", 100, false)]
    #[case::all_parameters(&format!("after={CURSOR}&subject=a&limit=007"), "a", 7, true)]
    #[case::space("subject=Ann+Lee", "Ann Lee", 50, false)]
    #[case::unicode("subject=J%C3%B6rg", "Jörg", 50, false)]
    #[case::empty_parameters("&&subject=a&", "a", 50, false)]
    fn valid_list_query_is_parsed(
        #[case] query: &str,
        #[case] subject: &str,
        #[case] limit: usize,
        #[case] has_after: bool,
    ) {
        let query = SessionsQuery::parse_list(query).unwrap();
        assert_eq!(query.subject.as_str(), subject);
        assert_eq!((query.limit, query.after.is_some()), (limit, has_after));
    }

    #[rstest]
    #[case::empty_query("")]
    #[case::no_subject("limit=1")]
    #[case::empty_subject("subject=")]
    #[case::subject_without_equals_sign("subject")]
    #[case::line_feed("subject=a%0A")]
    #[case::reversed_display("subject=a%E2%80%AEb")]
    #[case::not_utf_8("subject=%ff")]
    #[case::incomplete_percent_encoding("subject=a%2")]
    #[case::invalid_percent_encoding("subject=%zz")]
    #[case::too_long(&format!("subject={}", "a".repeat(257)))]
    #[case::subject_twice("subject=a&subject=a")]
    #[case::limit_twice("subject=a&limit=1&limit=2")]
    #[case::upper_case_name("Subject=a")]
    #[case::unknown_parameter("subject=a&order=desc")]
    #[case::access_token_parameter("subject=a&access_token=x")]
    #[case::empty_limit("subject=a&limit=")]
    #[case::limit_zero("subject=a&limit=0")]
    #[case::limit_above_maximum("subject=a&limit=101")]
    #[case::negative_limit("subject=a&limit=-1")]
    #[case::limit_with_plus_sign("subject=a&limit=%2B1")]
    #[case::limit_overflows("subject=a&limit=99999999999999999999999")]
    #[case::limit_is_a_word("subject=a&limit=all")]
    #[case::empty_cursor("subject=a&after=")]
    #[case::malformed_cursor("subject=a&after=x")]
    fn invalid_list_query_is_an_invalid_request(#[case] query: &str) {
        let error = SessionsQuery::parse_list(query).unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }

    #[test]
    fn query_to_find_a_session_may_contain_a_subject_only() {
        assert_eq!(SessionsQuery::parse_show("").unwrap(), None);
        let subject = SessionsQuery::parse_show("subject=a").unwrap();
        assert_eq!(subject.unwrap().as_str(), "a");
        for query in [
            "subject=",
            "subject=a&subject=a",
            "limit=1",
            "subject=a%0Ab",
        ] {
            assert!(SessionsQuery::parse_show(query).is_err(), "{query}");
        }
    }

    #[test]
    fn query_to_end_all_sessions_rejects_parameters_other_than_subject() {
        assert!(SessionsQuery::parse_revoke_all("subject=a").is_ok());
        for query in [
            "",
            "subject=a&limit=1",
            "subject=a&after=x",
            "subject=a&subject=b",
        ] {
            assert!(SessionsQuery::parse_revoke_all(query).is_err(), "{query}");
        }
    }

    proptest! {
        #[test]
        fn parsing_arbitrary_queries_does_not_panic(query in "[a-z=&%+0-9 ü]{0,60}") {
            let _ = SessionsQuery::parse_list(&query);
            let _ = SessionsQuery::parse_revoke_all(&format!("subject={query}"));
        }
    }
}
