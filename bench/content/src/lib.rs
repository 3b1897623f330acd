//! Common code of the Rust servers in the benchmark: the session that every server stores and
//! returns, and the command-line arguments.

use std::{collections::BTreeMap, env};

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// Idle timeout of sessions in seconds.
pub const TTL_SECONDS: u32 = 1_800;

/// Number of worker threads of each multi-threaded server.
pub const WORKERS: usize = 2;

/// JSON body of a request that creates a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Login {
    /// Values of the upstream cookies, by name.
    pub cookies: BTreeMap<String, String>,
    /// Base URL of the upstream site that the cookies belong to.
    pub base_url: String,
}

impl Login {
    /// Returns the request body with which each session of the benchmark is created.
    #[must_use]
    pub fn sample() -> Self {
        let cookies = [
            ("SESSIONID", "9f86d081884c7d659a2feaa0c55ad015"),
            ("club", "17"),
            ("csrf", "a3bf4f1b"),
            ("lang", "en"),
        ];
        let cookies = cookies.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            cookies: cookies.into(),
            base_url: "https://golf.example".to_owned(),
        }
    }
}

/// A session as the Rust servers of the benchmark, other than Tee Session, store it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    session_id: String,
    cookies: BTreeMap<String, String>,
    base_url: String,
    created_at: String,
}

impl Stored {
    /// Creates a session from the request body `login`, with a random id and the current time.
    #[must_use]
    pub fn new(login: Login) -> Self {
        Self {
            session_id: (0..22).map(|_| fastrand::alphanumeric()).collect(),
            cookies: login.cookies,
            base_url: login.base_url,
            created_at: rfc3339(OffsetDateTime::now_utc()),
        }
    }

    /// Converts the session to the response body of `GET /v1/session`, which also contains the
    /// expiry time.
    #[must_use]
    pub fn answer(self) -> Answer {
        let end = OffsetDateTime::now_utc() + Duration::seconds(TTL_SECONDS.into());
        // Copies each field, because `#[serde(flatten)]` would slow serialization down.
        Answer {
            session_id: self.session_id,
            cookies: self.cookies,
            base_url: self.base_url,
            created_at: self.created_at,
            expires_at: rfc3339(end),
        }
    }
}

/// Response body of `GET /v1/session`.
#[derive(Debug, Serialize)]
pub struct Answer {
    session_id: String,
    cookies: BTreeMap<String, String>,
    base_url: String,
    created_at: String,
    expires_at: String,
}

/// Formats a time as RFC 3339 with microseconds, as Tee Session does.
fn rfc3339(time: OffsetDateTime) -> String {
    let whole = time.microsecond() * 1_000;
    let time = time.replace_nanosecond(whole).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}

/// Returns the command-line arguments of a Rust server in the benchmark: the port to listen on and
/// the URL of Redis. Returns `None` if an argument is missing or the port is invalid.
#[must_use]
pub fn arguments() -> Option<(u16, String)> {
    let mut arguments = env::args().skip(1);
    let port = arguments.next()?.parse().ok()?;
    Some((port, arguments.next()?))
}
