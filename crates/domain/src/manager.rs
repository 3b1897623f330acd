//! The session manager: what the broker does with sessions.

mod creation;
mod rotation;
mod subjects;
mod update;

use std::{sync::Arc, time::Duration};

use time::OffsetDateTime;
use tracing::Instrument;

pub use self::{
    subjects::{ListedSession, SessionPage},
    update::UpdateError,
};
use crate::{
    EndReason, ErrorChain, RecentRenewals, RecentSlides, RepositoryError, Session, SessionError,
    SessionEvent, SessionPolicy, SessionRepository, SessionToken, TokenFormat, policy::to_signed,
};

/// How often a change is tried when others change the session at the same time. One of those who
/// try at once succeeds each time.
const MAX_TRIES: usize = 100;

/// Keeps sessions behind bearer tokens: store, get (which slides), delete, exists and ttl; update
/// and rotate; list and revoke those of a subject.
///
/// It draws tokens, applies the [`SessionPolicy`] and logs the events that operators follow;
/// the [`SessionRepository`] only stores. Events carry the field `token_prefix`, never a token
/// or a cookie.
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
    /// With a touch interval only.
    recent_slides: Option<Arc<RecentSlides>>,
    recent_renewals: Arc<RecentRenewals>,
    observer: fn(SessionEvent, usize),
}

impl<R: SessionRepository> SessionManager<R> {
    /// A manager of the sessions in `repository`, which live as `policy` says.
    pub fn new(repository: R, policy: SessionPolicy) -> Self {
        Self {
            repository,
            policy,
            token_format: TokenFormat::default(),
            recent_slides: policy.recent_slides().map(Arc::new),
            recent_renewals: Arc::new(policy.recent_renewals()),
            observer: |_, _| {},
        }
    }

    /// Shares what it knows of recent slides, if its policy has a touch interval, with the others
    /// that were given the same: the managers of one process, one for each of its threads.
    #[must_use]
    pub fn with_recent_slides(mut self, recent_slides: Option<Arc<RecentSlides>>) -> Self {
        self.recent_slides = recent_slides;
        self
    }

    /// Shares what it knows of recent renewals in the index of subjects, as
    /// [`with_recent_slides`](Self::with_recent_slides) does.
    #[must_use]
    pub fn with_recent_renewals(mut self, recent_renewals: Arc<RecentRenewals>) -> Self {
        self.recent_renewals = recent_renewals;
        self
    }

    /// Chooses how new tokens look.
    #[must_use]
    pub fn with_token_format(mut self, token_format: TokenFormat) -> Self {
        self.token_format = token_format;
        self
    }

    /// Calls `observer` with what befell sessions, and how many.
    #[must_use]
    pub fn with_observer(mut self, observer: fn(SessionEvent, usize)) -> Self {
        self.observer = observer;
        self
    }

    /// How long sessions live.
    pub fn policy(&self) -> SessionPolicy {
        self.policy
    }

    /// The repository that it was made with.
    pub fn repository(&self) -> &R {
        &self.repository
    }

    /// Reads the session and starts its idle timeout anew; with a touch interval, what is stored for
    /// that is written at most so often. Logs `Session accessed` (debug) or
    /// `Session not found` (warn). One round trip to the store.
    ///
    /// # Errors
    /// [`SessionError::NotFound`], [`RepositoryError::Unavailable`],
    /// [`RepositoryError::Corrupt`] or [`RepositoryError::NewerRecord`].
    pub async fn get(&self, token: &SessionToken) -> Result<ActiveSession, SessionError> {
        // The attribute, as elsewhere here, would keep this future three times.
        let span = tracing::info_span!("resolve session");
        self.resolve(token).instrument(span).await
    }

    async fn resolve(&self, token: &SessionToken) -> Result<ActiveSession, SessionError> {
        let idle_timeout = self.policy.idle_timeout();
        let found = self.fetch(token).await;
        let found = self.observe(token, found);
        let Some(session) = found? else {
            return Err(not_found(token));
        };
        let now = self.repository.now();
        let Some(remaining) = self.policy.remaining(idle_timeout, &session, now) else {
            self.end(token, &session).await;
            return Err(not_found(token));
        };
        self.renew_entry(token, &session, now);
        tracing::debug!(token_prefix = %token.prefix(), "Session accessed");
        Ok(ActiveSession {
            session,
            expires_at: now.saturating_add(to_signed(remaining)),
        })
    }

    /// Reads the session, and slides it unless that was done a moment ago.
    async fn fetch(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        // Before the slide: the store counts from a later moment.
        let now = self.repository.now();
        let recent_slides = self.recent_slides.as_deref();
        if recent_slides.is_some_and(|slides| slides.is_recent(token, now)) {
            return self.repository.fetch(token).await;
        }
        let stored_for = self.policy.stored_for();
        let found = self.repository.fetch_and_slide(token, stored_for).await?;
        if found.is_some() {
            self.note_slide(token, now);
        }
        Ok(found)
    }

    fn note_slide(&self, token: &SessionToken, now: OffsetDateTime) {
        if let Some(slides) = &self.recent_slides {
            slides.note(token, now);
        }
    }

    /// Deletes the session (logout); `false` when there was none. After it returned, the token
    /// opens nothing on any instance. Logs `Session deleted` or `Session delete attempted (not
    /// found)`.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`]: the session may or may not be gone, ask again;
    /// [`RepositoryError::Corrupt`]: what is stored under the token is no session, and stays; or
    /// [`RepositoryError::NewerRecord`]: ask an instance of the newer release.
    #[tracing::instrument(name = "delete session", skip_all)]
    pub async fn delete(&self, token: &SessionToken) -> Result<bool, SessionError> {
        // Looking first keeps foreign data under a session's key, and ends what is past its
        // absolute lifetime without calling that a logout.
        let found = self.look(token).await?;
        let deleted = found.is_some() && self.repository.remove(token).await?;
        if let Some((session, _)) = &found {
            self.leave_index(token, session);
        }
        let message = if deleted {
            (self.observer)(SessionEvent::Ended(EndReason::Deleted), 1);
            "Session deleted"
        } else {
            "Session delete attempted (not found)"
        };
        tracing::info!(token_prefix = %token.prefix(), deleted, "{message}");
        Ok(deleted)
    }

    /// Whether the session exists. Does not slide.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`], [`RepositoryError::Corrupt`] or
    /// [`RepositoryError::NewerRecord`].
    pub async fn exists(&self, token: &SessionToken) -> Result<bool, SessionError> {
        Ok(self.ttl(token).await?.is_some())
    }

    /// How long the session lives if nobody asks for it; `None` when there is none. Does not
    /// slide.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`], [`RepositoryError::Corrupt`] or
    /// [`RepositoryError::NewerRecord`].
    #[tracing::instrument(name = "session ttl", skip_all)]
    pub async fn ttl(&self, token: &SessionToken) -> Result<Option<SessionTtl>, SessionError> {
        Ok(self.look(token).await?.map(|(_, ttl)| ttl))
    }

    /// Reads the session without sliding it; `None` when there is none.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`], [`RepositoryError::Corrupt`] or
    /// [`RepositoryError::NewerRecord`].
    #[tracing::instrument(name = "peek at session", skip_all)]
    pub async fn peek(&self, token: &SessionToken) -> Result<Option<ActiveSession>, SessionError> {
        let found = self.look(token).await?;
        Ok(
            found.map(|(session, SessionTtl { expires_at, .. })| ActiveSession {
                session,
                expires_at,
            }),
        )
    }

    async fn look(
        &self,
        token: &SessionToken,
    ) -> Result<Option<(Session, SessionTtl)>, SessionError> {
        let Some(peeked) = self.observe(token, self.repository.peek(token).await)? else {
            return Ok(None);
        };
        // What it may live longer, for its touch interval, is promised to nobody.
        let idle_timeout = self.policy.idle_timeout();
        let idle_remaining = peeked.remaining.unwrap_or(idle_timeout).min(idle_timeout);
        let now = self.repository.now();
        let remaining = self.policy.remaining(idle_remaining, &peeked.session, now);
        let Some(ttl) = remaining else {
            self.end(token, &peeked.session).await;
            return Ok(None);
        };
        let expires_at = now.saturating_add(to_signed(ttl));
        Ok(Some((peeked.session, SessionTtl { ttl, expires_at })))
    }

    /// Removes a session that is past its absolute lifetime. Its end does not depend on this:
    /// if the store cannot do it now, the next access finds it over again.
    async fn end(&self, token: &SessionToken, session: &Session) {
        if self.discard(token, session).await {
            (self.observer)(SessionEvent::Ended(EndReason::Expired), 1);
        }
    }

    /// Removes a session that nobody may use any more; whether that was done now. If it fails, the
    /// session ends by itself.
    async fn discard(&self, token: &SessionToken, session: &Session) -> bool {
        self.leave_index(token, session);
        self.repository.remove(token).await.unwrap_or_else(|error| {
            tracing::debug!(
                token_prefix = %token.prefix(),
                error = %ErrorChain(&error),
                "Session that has ended not removed yet"
            );
            false
        })
    }

    /// A corrupt record looks to clients like any other invalid token: operators learn of it
    /// here.
    fn observe<T>(
        &self,
        token: &SessionToken,
        result: Result<T, RepositoryError>,
    ) -> Result<T, RepositoryError> {
        if let Err(error @ RepositoryError::Corrupt { .. }) = &result {
            tracing::error!(
                token_prefix = %token.prefix(),
                error = %ErrorChain(error),
                "Session record is corrupt"
            );
        }
        result
    }
}

fn not_found(token: &SessionToken) -> SessionError {
    tracing::warn!(token_prefix = %token.prefix(), "Session not found");
    SessionError::NotFound
}

/// A session that was just created.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The bearer token: give it to the client, keep it nowhere.
    pub token: SessionToken,
    /// The session.
    pub session: Session,
    /// How long it lives if nobody asks for it.
    pub ttl: Duration,
    /// When it ends if nobody asks for it, on the store's clock.
    pub expires_at: OffsetDateTime,
}

/// A session that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSession {
    /// The session.
    pub session: Session,
    /// When it ends if nobody asks for it again, on the store's clock.
    pub expires_at: OffsetDateTime,
}

/// What is left of a session's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTtl {
    /// How long it lives if nobody asks for it.
    pub ttl: Duration,
    /// When that is, on the store's clock.
    pub expires_at: OffsetDateTime,
}
