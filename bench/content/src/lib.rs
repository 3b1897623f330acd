//! The session that every server of the benchmark keeps and answers with, and the arguments that
//! the peers written in Rust take.

use std::{collections::BTreeMap, env};

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// Idle timeout of a session in seconds.
pub const TTL_SECONDS: u32 = 1_800;

/// HTTP worker threads of every server that has threads.
pub const WORKERS: usize = 2;

/// What a login brings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Login {
    /// Upstream cookies by name.
    pub cookies: BTreeMap<String, String>,
    /// Site they belong to.
    pub base_url: String,
}

impl Login {
    /// The login that every session of the benchmark begins with.
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

/// What a peer keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    session_id: String,
    cookies: BTreeMap<String, String>,
    base_url: String,
    created_at: String,
}

impl Stored {
    /// A session that begins now.
    #[must_use]
    pub fn new(login: Login) -> Self {
        Self {
            session_id: (0..22).map(|_| fastrand::alphanumeric()).collect(),
            cookies: login.cookies,
            base_url: login.base_url,
            created_at: in_words(OffsetDateTime::now_utc()),
        }
    }

    /// What a peer answers with: the session, and when it ends if it is not used again.
    #[must_use]
    pub fn answer(self) -> Answer {
        let end = OffsetDateTime::now_utc() + Duration::seconds(TTL_SECONDS.into());
        // Not flattened: that would cost the peers something.
        Answer {
            session_id: self.session_id,
            cookies: self.cookies,
            base_url: self.base_url,
            created_at: self.created_at,
            expires_at: in_words(end),
        }
    }
}

/// The answer to `GET /v1/session`.
#[derive(Debug, Serialize)]
pub struct Answer {
    session_id: String,
    cookies: BTreeMap<String, String>,
    base_url: String,
    created_at: String,
    expires_at: String,
}

/// RFC 3339, in microseconds as the service has it.
fn in_words(time: OffsetDateTime) -> String {
    let whole = time.microsecond() * 1_000;
    let time = time.replace_nanosecond(whole).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}

/// The port to listen on and the URL of Redis: what a peer is started with. Nothing if they are not
/// there.
#[must_use]
pub fn arguments() -> Option<(u16, String)> {
    let mut arguments = env::args().skip(1);
    let port = arguments.next()?.parse().ok()?;
    Some((port, arguments.next()?))
}
