//! The query of `/v1/sessions`: whose sessions are meant.

use tee_session_domain::{IndexCursor, Subject};

use crate::problem::ApiError;

pub(crate) const DEFAULT_LIMIT: usize = 50;

pub(crate) const MAX_LIMIT: usize = 100;

/// What the query asks for. What it says is never repeated.
#[derive(Debug)]
pub(crate) struct SessionsQuery {
    pub(crate) subject: Subject,
    /// Most sessions on a page.
    pub(crate) limit: usize,
    /// Where the page begins.
    pub(crate) after: Option<IndexCursor>,
}

impl SessionsQuery {
    /// The query of a list: `subject`, and perhaps `limit` and `after`.
    pub(crate) fn of_a_page(query: &str) -> Result<Self, ApiError> {
        let [subject, limit, after] = parameters(query, ["subject", "limit", "after"])?;
        Ok(Self {
            subject: parse_subject(subject)?,
            limit: limit.map_or(Ok(DEFAULT_LIMIT), |text| parse_limit(&text))?,
            after: after.map(|text| parse_cursor(&text)).transpose()?,
        })
    }

    /// The query of what is about all sessions: `subject` alone.
    pub(crate) fn of_all(query: &str) -> Result<Subject, ApiError> {
        let [subject] = parameters(query, ["subject"])?;
        parse_subject(subject)
    }
}

/// The values of these parameters. Who may end the sessions of others is better not understood than
/// understood wrongly: there may be no other parameter, and none twice.
fn parameters<const N: usize>(
    query: &str,
    names: [&str; N],
) -> Result<[Option<String>; N], ApiError> {
    if !is_well_encoded(query.as_bytes()) {
        return Err(invalid("The query is not percent-encoded as it should be"));
    }
    let mut values = [const { None }; N];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(index) = names.iter().position(|known| *known == name) else {
            return Err(invalid("The query has a parameter that is not known here"));
        };
        if values[index].replace(value.into_owned()).is_some() {
            return Err(invalid("The query has a parameter twice"));
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
    let detail = "The parameter subject must be 1 to 256 visible ASCII characters";
    text.parse().map_err(|_| invalid(detail))
}

fn parse_limit(text: &str) -> Result<usize, ApiError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().filter(|_| is_number);
    limit
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| invalid("The parameter limit must be a whole number from 1 to 100"))
}

fn parse_cursor(text: &str) -> Result<IndexCursor, ApiError> {
    let detail = "The parameter after must be what the last page said as next";
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
    #[case::alone("subject=member-4711", "member-4711", 50, false)]
    #[case::encoded("%73ubject=auth0%7C4711%2B%25", "auth0|4711+%", 50, false)]
    #[case::not_encoded("subject=a/b?c:d@e|f", "a/b?c:d@e|f", 50, false)]
    #[case::limit("subject=a&limit=1", "a", 1, false)]
    #[case::most("limit=100&subject=a", "a", 100, false)]
    #[case::all_three(&format!("after={CURSOR}&subject=a&limit=007"), "a", 7, true)]
    #[case::empty_pieces("&&subject=a&", "a", 50, false)]
    fn a_page_is_asked_for(
        #[case] query: &str,
        #[case] subject: &str,
        #[case] limit: usize,
        #[case] has_after: bool,
    ) {
        let query = SessionsQuery::of_a_page(query).unwrap();
        assert_eq!(query.subject.as_str(), subject);
        assert_eq!((query.limit, query.after.is_some()), (limit, has_after));
    }

    #[rstest]
    #[case::nothing("")]
    #[case::no_subject("limit=1")]
    #[case::no_value("subject=")]
    #[case::name_alone("subject")]
    #[case::space("subject=a+b")]
    #[case::line_feed("subject=a%0A")]
    #[case::unicode("subject=j%C3%B6rg")]
    #[case::not_utf_8("subject=%ff")]
    #[case::half_encoded("subject=a%2")]
    #[case::badly_encoded("subject=%zz")]
    #[case::too_long(&format!("subject={}", "a".repeat(257)))]
    #[case::subject_twice("subject=a&subject=a")]
    #[case::limit_twice("subject=a&limit=1&limit=2")]
    #[case::another_case("Subject=a")]
    #[case::unknown("subject=a&order=desc")]
    #[case::a_token("subject=a&access_token=x")]
    #[case::no_limit("subject=a&limit=")]
    #[case::limit_of_nothing("subject=a&limit=0")]
    #[case::too_many("subject=a&limit=101")]
    #[case::negative("subject=a&limit=-1")]
    #[case::with_a_sign("subject=a&limit=%2B1")]
    #[case::beyond_all_numbers("subject=a&limit=99999999999999999999999")]
    #[case::a_word("subject=a&limit=all")]
    #[case::no_cursor("subject=a&after=")]
    #[case::another_cursor("subject=a&after=x")]
    fn what_does_not_ask_for_one_is_an_invalid_request(#[case] query: &str) {
        let error = SessionsQuery::of_a_page(query).unwrap_err();
        assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
    }

    #[test]
    fn all_sessions_are_asked_for_by_their_subject_alone() {
        assert!(SessionsQuery::of_all("subject=a").is_ok());
        for query in [
            "",
            "subject=a&limit=1",
            "subject=a&after=x",
            "subject=a&subject=b",
        ] {
            assert!(SessionsQuery::of_all(query).is_err(), "{query}");
        }
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_judged_without_a_panic(query in "[a-z=&%+0-9 ü]{0,60}") {
            let _ = SessionsQuery::of_a_page(&query);
            let _ = SessionsQuery::of_all(&format!("subject={query}"));
        }
    }
}
