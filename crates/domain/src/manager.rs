//! Session manager: creates, loads, updates, rotates, deletes, lists and revokes sessions.

mod claims;
mod creation;
mod idempotent_creation;
mod idempotent_rotation;
mod merge;
mod rotation;
mod subjects;
mod update;

use std::{sync::Arc, time::Duration};

use time::OffsetDateTime;
use tracing::Instrument;

pub use self::{
    claims::IdempotentSession,
    merge::MergedSession,
    subjects::{FoundSession, ListedSession, SessionPage},
    update::{LoadedForUpdate, UpdateError},
};
use crate::{
    EndReason, ErrorChain, RecentRenewals, RecentTouches, RepositoryError, Session, SessionError,
    SessionEvent, SessionPolicy, SessionRepository, SessionToken, TokenFormat, clock::to_signed,
    log_limit::LogLimit,
};

/// Maximum number of attempts to update or rotate a session that other requests change at the same
/// time. If several attempts compete, one of them succeeds.
const MAX_TRIES: usize = 100;

/// Manages sessions that clients access with bearer tokens. The operations are store, get (which
/// renews the idle timeout), delete, exists, ttl, update and rotate. For the sessions of a subject,
/// there are list and revoke.
///
/// The manager generates tokens, applies the [`SessionPolicy`] and writes log events for operators.
/// The [`SessionRepository`] only stores sessions. Log events contain the first characters of the
/// token (field `token_prefix`), but never a whole token or a cookie.
///
/// ```no_run
/// # async fn example<R: tee_session_domain::SessionRepository>(
/// #     repository: R,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use tee_session_domain::{BaseUrl, Cookies, SessionManager, SessionPolicy};
///
/// let sessions = SessionManager::new(repository, SessionPolicy::default());
/// let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())])?;
/// let new = sessions.store(cookies, BaseUrl::new("https://golf.example")?).await?;
///
/// let active = sessions.get(&new.token).await?;
/// assert_eq!(active.session.cookies.get("SESSIONID"), Some("a1b2c3"));
/// assert!(sessions.delete(&new.token).await?);
/// assert!(!sessions.exists(&new.token).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SessionManager<R> {
    repository: R,
    policy: SessionPolicy,
    token_format: TokenFormat,
    /// Table of recently touched sessions (sessions whose TTL was renewed recently). `None` if
    /// every access touches the session.
    recent_touches: Option<Arc<RecentTouches>>,
    recent_renewals: Arc<RecentRenewals>,
    observer: fn(SessionEvent, usize),
}

impl<R: SessionRepository> SessionManager<R> {
    /// Creates a manager of the sessions in `repository` with the limits in `policy`.
    pub fn new(repository: R, policy: SessionPolicy) -> Self {
        Self {
            repository,
            policy,
            token_format: TokenFormat::default(),
            recent_touches: policy.recent_touches().map(Arc::new),
            recent_renewals: Arc::new(policy.recent_renewals()),
            observer: |_, _| {},
        }
    }

    /// Sets the table of recently touched sessions (sessions whose TTL was renewed recently). If a
    /// process has several managers, for example one per thread, set the same table for all of
    /// them. The table is needed only if the policy has a touch interval (minimum time between two
    /// touches). With `None`, every access touches the session.
    #[must_use]
    pub fn with_recent_touches(mut self, recent_touches: Option<Arc<RecentTouches>>) -> Self {
        self.recent_touches = recent_touches;
        self
    }

    /// Sets the table of subject index entries that were renewed recently. If a process has several
    /// managers, for example one per thread, set the same table for all of them.
    #[must_use]
    pub fn with_recent_renewals(mut self, recent_renewals: Arc<RecentRenewals>) -> Self {
        self.recent_renewals = recent_renewals;
        self
    }

    /// Sets the format of the tokens that the manager generates.
    #[must_use]
    pub fn with_token_format(mut self, token_format: TokenFormat) -> Self {
        self.token_format = token_format;
        self
    }

    /// Sets the function that is called with each session lifecycle event. The second argument of
    /// the function is the number of sessions that the event concerns.
    #[must_use]
    pub fn with_observer(mut self, observer: fn(SessionEvent, usize)) -> Self {
        self.observer = observer;
        self
    }

    /// Returns the policy, which limits the lifetime and the number of sessions.
    pub fn policy(&self) -> SessionPolicy {
        self.policy
    }

    /// Returns the repository in which the manager stores sessions.
    pub fn repository(&self) -> &R {
        &self.repository
    }

    /// Loads the session and renews its idle timeout, in one round trip to the store. If the policy
    /// has a touch interval (minimum time between two TTL renewals), the TTL in the store is
    /// renewed at most once per interval.
    ///
    /// Logs `Session accessed` (debug) or `Session not found` (warn).
    ///
    /// # Errors
    /// - [`SessionError::NotFound`]: there is no live session with this token.
    /// - [`RepositoryError::Unavailable`]: the store cannot serve the request now.
    /// - [`RepositoryError::Corrupt`]: the data stored under the token is not a session.
    /// - [`RepositoryError::NewerRecord`]: a newer release wrote the session's record.
    pub async fn get(&self, token: &SessionToken) -> Result<ActiveSession, SessionError> {
        // The attribute `tracing::instrument` is not used here, because it would store the future
        // of this method three times. The level of the span is DEBUG, because some log formats
        // write a line for each INFO span, and most requests resolve a session.
        let span = tracing::debug_span!("resolve session");
        self.resolve(token).instrument(span).await
    }

    async fn resolve(&self, token: &SessionToken) -> Result<ActiveSession, SessionError> {
        let idle_timeout = self.policy.idle_timeout();
        let found = self.load(token).await;
        let found = self.log_if_corrupt(token, found);
        let Some(session) = found? else {
            return Err(not_found(token));
        };
        let now = self.repository.now();
        let Some(remaining) = self.policy.remaining(idle_timeout, &session, now) else {
            self.remove_expired(token, &session).await;
            return Err(not_found(token));
        };
        self.renew_entry(token, &session, now);
        tracing::debug!(token_prefix = %token.prefix(), "Session accessed");
        Ok(ActiveSession {
            session: session.without_expired_cookies(now),
            expires_at: now.saturating_add(to_signed(remaining)),
        })
    }

    /// Loads the session. Touches the session (renews its TTL) unless the last touch is more recent
    /// than the touch interval. Returns `None` if the store has no such session.
    async fn load(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        // `now` is read before the touch, so the TTL in the store ends no earlier than the table of
        // recent touches assumes.
        let now = self.repository.now();
        let recent_touches = self.recent_touches.as_deref();
        if recent_touches.is_some_and(|touches| touches.is_recent(token, now)) {
            return self.repository.load(token).await;
        }
        let record_ttl = self.policy.record_ttl();
        let found = self.repository.load_and_touch(token, record_ttl).await?;
        if found.is_some() {
            self.note_touch(token, now);
        }
        Ok(found)
    }

    fn note_touch(&self, token: &SessionToken, now: OffsetDateTime) {
        if let Some(touches) = &self.recent_touches {
            touches.note(token, now);
        }
    }

    /// Deletes the session (logout). Returns `true` if this call deleted the session, and `false`
    /// if there was no live session. After the call has returned, no instance accepts the token.
    /// There is one exception: another instance with a near cache (copies of sessions in its
    /// memory) may accept the token until the invalidation arrives.
    ///
    /// Logs `Session deleted` or `Session delete attempted (not found)`.
    ///
    /// # Errors
    /// - [`RepositoryError::Unavailable`]: it is unknown whether the session was deleted; try
    ///   again.
    /// - [`RepositoryError::Corrupt`]: the data stored under the token is not a session and was not
    ///   deleted.
    /// - [`RepositoryError::NewerRecord`]: a newer release wrote the session's record; send the
    ///   request to an instance of that release.
    #[tracing::instrument(name = "delete session", skip_all)]
    pub async fn delete(&self, token: &SessionToken) -> Result<bool, SessionError> {
        // The session is loaded before it is removed, for two reasons. Data that is stored under
        // the session's key but is not a session must not be removed. A session past its absolute
        // lifetime must be reported as expired, not as a logout.
        let found = self.load_live(token).await?;
        let deleted = found.is_some() && self.repository.remove(token).await?;
        if let Some((session, _)) = &found {
            self.remove_from_index(token, session);
        }
        let token_prefix = token.prefix();
        if deleted {
            (self.observer)(SessionEvent::Ended(EndReason::Deleted), 1);
            tracing::info!(%token_prefix, deleted, "Session deleted");
        } else {
            NOT_DELETED.log(|unlogged| {
                tracing::info!(
                    %token_prefix,
                    deleted,
                    unlogged,
                    "Session delete attempted (not found)"
                );
            });
        }
        Ok(deleted)
    }

    /// Returns `true` if the session is live. Does not renew the idle timeout.
    ///
    /// # Errors
    /// - [`RepositoryError::Unavailable`]: the store cannot serve the request now.
    /// - [`RepositoryError::Corrupt`]: the data stored under the token is not a session.
    /// - [`RepositoryError::NewerRecord`]: a newer release wrote the session's record.
    pub async fn exists(&self, token: &SessionToken) -> Result<bool, SessionError> {
        Ok(self.ttl(token).await?.is_some())
    }

    /// Returns the time until the session expires, and its expiry time. Does not renew the idle
    /// timeout. Returns `None` if there is no live session.
    ///
    /// # Errors
    /// - [`RepositoryError::Unavailable`]: the store cannot serve the request now.
    /// - [`RepositoryError::Corrupt`]: the data stored under the token is not a session.
    /// - [`RepositoryError::NewerRecord`]: a newer release wrote the session's record.
    #[tracing::instrument(name = "session ttl", level = "debug", skip_all)]
    pub async fn ttl(&self, token: &SessionToken) -> Result<Option<SessionTtl>, SessionError> {
        Ok(self.load_live(token).await?.map(|(_, ttl)| ttl))
    }

    /// Loads the session without renewing its idle timeout. Returns `None` if there is no live
    /// session.
    ///
    /// # Errors
    /// - [`RepositoryError::Unavailable`]: the store cannot serve the request now.
    /// - [`RepositoryError::Corrupt`]: the data stored under the token is not a session.
    /// - [`RepositoryError::NewerRecord`]: a newer release wrote the session's record.
    #[tracing::instrument(name = "get session without touch", level = "debug", skip_all)]
    pub async fn get_without_touch(
        &self,
        token: &SessionToken,
    ) -> Result<Option<ActiveSession>, SessionError> {
        let found = self.load_live(token).await?;
        Ok(
            found.map(|(session, SessionTtl { expires_at, .. })| ActiveSession {
                session,
                expires_at,
            }),
        )
    }

    /// Loads the session with its remaining lifetime, without renewing its idle timeout. Returns
    /// `None` if there is no live session. A session past its absolute lifetime is removed.
    async fn load_live(
        &self,
        token: &SessionToken,
    ) -> Result<Option<(Session, SessionTtl)>, SessionError> {
        let loaded = self.repository.load_with_ttl(token).await;
        let Some(loaded) = self.log_if_corrupt(token, loaded)? else {
            return Ok(None);
        };
        // With a touch interval, the record is stored for longer than the idle timeout. The
        // reported remaining lifetime must not include that additional time.
        let idle_timeout = self.policy.idle_timeout();
        let idle_remaining = loaded.remaining.unwrap_or(idle_timeout).min(idle_timeout);
        let now = self.repository.now();
        let remaining = self.policy.remaining(idle_remaining, &loaded.session, now);
        let Some(ttl) = remaining else {
            self.remove_expired(token, &loaded.session).await;
            return Ok(None);
        };
        let expires_at = now.saturating_add(to_signed(ttl));
        let session = loaded.session.without_expired_cookies(now);
        Ok(Some((session, SessionTtl { ttl, expires_at })))
    }

    /// Removes a session that is past its absolute lifetime, and reports the end of the session to
    /// the observer. If the store cannot remove the session now, the next access rejects the
    /// session again.
    async fn remove_expired(&self, token: &SessionToken, session: &Session) {
        if self.discard(token, session).await {
            (self.observer)(SessionEvent::Ended(EndReason::Expired), 1);
        }
    }

    /// Removes the record and the index entry of a session that must not be used any more. Returns
    /// `true` if this call removed the record. If the removal fails, the record expires by itself.
    async fn discard(&self, token: &SessionToken, session: &Session) -> bool {
        self.remove_from_index(token, session);
        self.repository.remove(token).await.unwrap_or_else(|error| {
            tracing::debug!(
                token_prefix = %token.prefix(),
                error = %ErrorChain(&error),
                "Session could not be removed; its record expires by itself"
            );
            false
        })
    }

    /// Removes a session that was just created or rotated, because its new token could not be
    /// delivered to the client. Otherwise the session, which no client can use, would count towards
    /// the session limit of its subject. If the store cannot remove the session now, its record
    /// expires by itself.
    ///
    /// Logs `Session removed: its token could not be delivered` (info).
    pub async fn discard_undelivered(&self, new: &NewSession) {
        if self.discard(&new.token, &new.session).await {
            (self.observer)(SessionEvent::Ended(EndReason::Undelivered), 1);
            tracing::info!(
                token_prefix = %new.token.prefix(),
                "Session removed: its token could not be delivered"
            );
        }
    }

    /// Logs an error for operators if the session's record is corrupt. Returns `result` unchanged.
    /// Clients get the same response as for any other invalid token.
    fn log_if_corrupt<T>(
        &self,
        token: &SessionToken,
        result: Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        if let Err(error @ RepositoryError::Corrupt { .. }) = &result {
            CORRUPT.log(|unlogged| {
                tracing::error!(
                    token_prefix = %token.prefix(),
                    error = %ErrorChain(error),
                    unlogged,
                    "Session record is corrupt"
                );
            });
        }
        result
    }
}

/// Limit for log lines about tokens without a session. Clients can send any number of such tokens,
/// even from many addresses and through a gateway.
static NOT_FOUND: LogLimit = LogLimit::per_second(100);
/// Limit for log lines about logouts with a token without a session.
static NOT_DELETED: LogLimit = LogLimit::per_second(100);
/// Limit for log lines about corrupt session records. A client whose session record is corrupt can
/// repeat its request at any rate.
static CORRUPT: LogLimit = LogLimit::per_second(10);

fn not_found(token: &SessionToken) -> SessionError {
    NOT_FOUND.log(|unlogged| {
        tracing::warn!(token_prefix = %token.prefix(), unlogged, "Session not found");
    });
    SessionError::NotFound
}

/// A session that was just created or rotated, with its new token.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Bearer token of the session. Give the token to the client and do not store it.
    pub token: SessionToken,
    /// Session that was created or rotated.
    pub session: Session,
    /// Remaining lifetime of the session, until `expires_at`.
    pub ttl: Duration,
    /// Expiry time of the session, on the store's clock. An access before then can extend it.
    pub expires_at: OffsetDateTime,
}

/// A session that was found and has not ended, with the time at which it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSession {
    /// Data of the session.
    pub session: Session,
    /// Expiry time of the session, on the store's clock. An access before then can extend it.
    pub expires_at: OffsetDateTime,
}

/// Remaining lifetime of a live session, as a duration and as an end time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTtl {
    /// Remaining lifetime of the session, until `expires_at`.
    pub ttl: Duration,
    /// Expiry time of the session, on the store's clock. An access before then can extend it.
    pub expires_at: OffsetDateTime,
}
