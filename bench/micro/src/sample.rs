//! Sample session for all micro-benchmarks: a typical session with four cookies, about 260 bytes of
//! JSON.

use tee_session_domain::{BaseUrl, Cookies, Session, SessionAttributes, SessionToken};
use time::{Duration, OffsetDateTime};

/// Base URL of the sample session.
pub const BASE_URL: &str = "https://golf.example";

/// Names and values of the cookies of the sample session.
pub const COOKIES: [(&str, &str); 4] = [
    ("SESSIONID", "0123456789abcdef0123456789abcdef"),
    ("csrf", "89abcdef"),
    ("lang", "en"),
    ("theme", "dark"),
];

/// Returns the JSON body of a request that creates the sample session.
#[must_use]
pub fn create_body() -> String {
    let cookies = COOKIES.map(|(name, value)| format!(r#""{name}":"{value}""#));
    let cookies = cookies.join(",");
    format!(r#"{{"cookies":{{{cookies}}},"base_url":"{BASE_URL}"}}"#)
}

/// Returns the sample session.
///
/// # Errors
/// Fails if the cookies or the base URL of the sample are invalid.
pub fn session() -> anyhow::Result<Session> {
    let cookies = COOKIES.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Session {
        cookies: Cookies::new(cookies)?,
        base_url: BaseUrl::new(BASE_URL)?,
        created_at: now(),
        absolute_end: None,
        attributes: SessionAttributes::default(),
    })
}

/// Returns the token of the sample session.
pub(crate) fn token() -> anyhow::Result<SessionToken> {
    Ok("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".parse()?)
}

/// Returns the fixed time that all operations use as the current time.
#[must_use]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::microseconds(1_768_473_000_123_456)
}
