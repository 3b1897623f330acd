//! Cookies in an exchange: builds the `Cookie` header field of the request, and merges the
//! `Set-Cookie` lines of the answer into the session.

use std::time::Duration;

use tee_session_auth_middleware::InvalidMember;
use tee_session_domain::{
    ActiveSession, CookieUrl, ErrorChain, IgnoreReason, LogLimit, SessionError, SessionId,
    SessionRepository, SessionToken, SetCookieLines, UpdateError, parse_cookie_date,
};
use tee_session_upstream::{Site, Target, http::HeaderValue};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout_at};
use zeroize::Zeroizing;

use super::late_merges::{Turn, remember};
use crate::{
    metrics::{
        cookie_merges::{self, Source},
        ignored_cookies,
    },
    problem::ApiError,
    request::deadline::abort_at,
    store::sessions::Sessions,
};

/// Time for which a failed merge of cookies is repeated after the answer was passed on.
const RETRY_FOR: Duration = Duration::from_secs(5);

const FIRST_RETRY_AFTER: Duration = Duration::from_millis(100);

/// Maximum pause between two attempts of a late merge. If the pauses grew without a limit, there
/// would be no attempt in the last seconds of [`RETRY_FOR`].
const MAX_RETRY_AFTER: Duration = Duration::from_millis(250);

static NOT_KEPT: LogLimit = LogLimit::per_second(1);

/// Returns the URL of the request for `target` on `site`.
pub(super) fn request_url(site: &Site, target: &Target) -> Option<CookieUrl> {
    CookieUrl::parse(&format!("{}{}", site.origin(), target.as_str()))
}

/// Returns the value of the `Cookie` header field for a request to `url`.
///
/// # Errors
/// Fails if the value of a cookie contains `;`. The error names the cookie.
pub(super) fn cookie_field(
    active: &ActiveSession,
    url: &CookieUrl,
    now: OffsetDateTime,
) -> Result<Option<Zeroizing<String>>, ApiError> {
    let session = &active.session;
    let field = session.cookies.header_for(url, &session.base_url, now);
    field.map_err(|_| {
        let mut cookies = session.cookies.iter();
        let unsendable = cookies.find(|(_, value)| value.is_some_and(|v| v.contains(';')));
        let name = unsendable.map_or("", |(name, _)| name);
        let pointer = format!("/cookies/{}", name.replace('~', "~0").replace('/', "~1"));
        ApiError::UnsendableCookie(vec![InvalidMember {
            pointer,
            detail: "must not contain a semicolon, because it could not be sent to the site".into(),
        }])
    })
}

/// Returns the update that merges the `Set-Cookie` lines of an answer, or `None` if there are no
/// such lines. `set_cookie` and `date` are header fields of the answer. `before` is the session
/// from which the request was built. Ignores and counts lines that are not UTF-8.
pub(super) fn cookies_of(
    set_cookie: &[HeaderValue],
    date: Option<&HeaderValue>,
    url: CookieUrl,
    before: &ActiveSession,
) -> Option<SetCookieLines> {
    if set_cookie.is_empty() {
        return None;
    }
    let lines = set_cookie.iter();
    let lines = lines.filter_map(|line| {
        let line = String::from_utf8(line.as_bytes().to_vec());
        line.inspect_err(|_| ignored_cookies::count_line(IgnoreReason::Syntax))
            .ok()
    });
    let cookies = &before.session.cookies;
    let flat = cookies
        .iter()
        .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
    let others = cookies.others().iter();
    let others = others.map(|other| (other.name.clone(), Some(other.value.as_str().to_owned())));
    let mut update = SetCookieLines::new(url, lines).sent(flat.chain(others));
    let date = date.and_then(|date| date.to_str().ok());
    if let Some(date) = date.and_then(parse_cookie_date) {
        update = update.answered_at(date);
    }
    Some(update)
}

/// Result of a merge of cookies into a session.
#[derive(Debug)]
pub(super) enum Merge {
    /// The cookies were stored, or were left out because the session now belongs to another site.
    Done,
    /// The session has ended, or its token was rotated. The cookies were not stored.
    Gone,
    /// The store failed, so the cookies were not stored. The merge can be repeated.
    NotKept,
}

/// Merges `update` into the session. The merge takes at most `answer_timeout`.
pub(super) async fn merge<R: SessionRepository>(
    sessions: &Sessions<R>,
    token: &SessionToken,
    update: &SetCookieLines,
    answer_timeout: Duration,
) -> Merge {
    let merge = async {
        let loaded = sessions.load_for_merge(token).await?;
        sessions.merge_loaded(token, loaded, update, |_| true).await
    };
    let merged = abort_at(Instant::now() + answer_timeout, merge).await;
    cookie_merges::count(Source::Gateway, &merged);
    match merged {
        Ok(merged) => {
            ignored_cookies::count_lines(&merged.ignored);
            Merge::Done
        }
        // A merge must not restore a session that has ended. Cookies of another site do not belong
        // to the session any more.
        Err(UpdateError::ForeignUrl) => Merge::Done,
        Err(UpdateError::Session(SessionError::NotFound)) => Merge::Gone,
        Err(error) => {
            NOT_KEPT.log(|unlogged| {
                let (token_prefix, error) = (token.prefix(), ErrorChain(&error));
                tracing::warn!(%token_prefix, %error, unlogged, "Upstream cookies not kept");
            });
            Merge::NotKept
        }
    }
}

/// Repeats the merge of `update` for at most [`RETRY_FOR`], after the earlier late merges of the
/// session. Does not overwrite cookies that have changed since the answer arrived. Returns `false`
/// if the cookies are lost, because the time has passed, because too many late merges are pending,
/// or because the session has ended or its token was rotated in the meantime.
pub(super) async fn merge_later<R: SessionRepository>(
    sessions: &Sessions<R>,
    token: &SessionToken,
    update: &SetCookieLines,
    answer_timeout: Duration,
) -> bool {
    let until = Instant::now() + RETRY_FOR;
    let Some(turn) = Turn::of(SessionId::of(token)) else {
        return false;
    };
    let retry = async {
        let mut earlier = turn.merged.lock().await;
        let update = update.late(&earlier);
        // If the cookies of an earlier answer were stored in the meantime, the store is available
        // again.
        let is_available = !earlier.is_empty();
        let mut delay = if is_available {
            Duration::ZERO
        } else {
            FIRST_RETRY_AFTER
        };
        loop {
            sleep(delay).await;
            delay = (delay * 2).clamp(FIRST_RETRY_AFTER, MAX_RETRY_AFTER);
            match merge(sessions, token, &update, answer_timeout).await {
                Merge::Done => {
                    remember(&mut earlier, update);
                    return true;
                }
                Merge::Gone => return false,
                Merge::NotKept => {}
            }
        }
    };
    timeout_at(until, retry).await.unwrap_or(false)
}
