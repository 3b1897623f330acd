//! The session that everything is measured with: an ordinary one, of four cookies, which is about
//! 260 bytes of JSON.

use tee_session_domain::{BaseUrl, Cookies, Session};
use time::{Duration, OffsetDateTime};

/// The site.
pub const BASE_URL: &str = "https://golf.example";

/// Names and values of the cookies.
pub const COOKIES: [(&str, &str); 4] = [
    ("SESSIONID", "0123456789abcdef0123456789abcdef"),
    ("csrf", "89abcdef"),
    ("lang", "en"),
    ("theme", "dark"),
];

/// The body of a login.
#[must_use]
pub fn create_body() -> String {
    let cookies = COOKIES.map(|(name, value)| format!(r#""{name}":"{value}""#));
    let cookies = cookies.join(",");
    format!(r#"{{"cookies":{{{cookies}}},"base_url":"{BASE_URL}"}}"#)
}

/// The session itself.
///
/// # Errors
/// When the domain would not take it.
pub fn session() -> anyhow::Result<Session> {
    let cookies = COOKIES.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Session {
        cookies: Cookies::new(cookies)?,
        base_url: BaseUrl::new(BASE_URL)?,
        created_at: now(),
        absolute_end: None,
        subject: None,
        label: None,
    })
}

/// A moment that all share.
#[must_use]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::microseconds(1_768_473_000_123_456)
}
