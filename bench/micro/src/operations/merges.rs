//! Operations of a merge of `Set-Cookie` lines.

use std::hint::black_box;

use anyhow::{Context, ensure};
use tee_session_domain::{CookieUrl, Session, SetCookieLines};
use tee_session_redis_adapter::{StorageFormat, fuzzing::Location};

use super::Repeat;
use crate::sample;

/// `Set-Cookie` lines of a site that sets two cookies. `VALUE` is a placeholder for the value of
/// the first cookie.
const LINES: [&str; 2] = [
    "SESSIONID=VALUE; Path=/; Secure; HttpOnly; SameSite=Lax",
    "csrf=b4c0; Path=/; Max-Age=86400",
];

fn lines(value: &str) -> anyhow::Result<SetCookieLines> {
    let url = format!("{}/login.php", sample::BASE_URL);
    let url = CookieUrl::parse(&url).context("a URL")?;
    let lines = LINES.map(|line| line.replace("VALUE", value));
    Ok(SetCookieLines::new(url, lines))
}

/// Returns the sample session after a merge of `Set-Cookie` lines.
fn session_of_a_jar() -> anyhow::Result<Session> {
    let session = sample::session()?;
    let lines = lines("d4e5f6")?;
    let merged = session
        .cookies
        .merged(&lines, &session.base_url, sample::now());
    Ok(Session {
        cookies: merged.cookies.context("a change")?,
        ..session
    })
}

/// Prepares an operation that merges `Set-Cookie` lines with the values that the session already
/// has.
pub(super) fn unchanged() -> anyhow::Result<Repeat> {
    let (session, lines) = (session_of_a_jar()?, lines("d4e5f6")?);
    let merge = move || {
        let (cookies, base_url) = (&session.cookies, &session.base_url);
        black_box(cookies).merged(black_box(&lines), base_url, sample::now())
    };
    ensure!(merge().cookies.is_none(), "the merge must change nothing");
    Ok(Box::new(move || drop(black_box(merge()))))
}

/// Prepares an operation that merges two `Set-Cookie` lines, of which one sets a new value.
pub(super) fn changed() -> anyhow::Result<Repeat> {
    let (session, lines) = (session_of_a_jar()?, lines("g7h8i9")?);
    let merge = move || {
        let (cookies, base_url) = (&session.cookies, &session.base_url);
        black_box(cookies).merged(black_box(&lines), base_url, sample::now())
    };
    ensure!(merge().cookies.is_some(), "the merge must change a cookie");
    Ok(Box::new(move || drop(black_box(merge()))))
}

/// Prepares an operation that opens (decrypts) a sealed record whose cookies have attributes.
pub(super) fn sealed_decode_of_a_jar() -> anyhow::Result<Repeat> {
    let location = Location::new(StorageFormat::Sealed, &sample::token()?);
    let record = location.encode(&session_of_a_jar()?);
    let session = location.decode(&record).context("a record must open")?;
    ensure!(session.cookies.has_details(), "the attributes must be read");
    Ok(Box::new(move || {
        drop(black_box(location.decode(black_box(&record))));
    }))
}
