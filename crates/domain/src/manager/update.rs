//! Operation of the session manager that updates a session.

use std::time::Duration;

use thiserror::Error;
use time::OffsetDateTime;

use super::{ActiveSession, MAX_TRIES, SessionManager, not_found};
use crate::{
    BaseUrl, CookiesError, EntityTag, RepositoryError, Revision, Session, SessionError,
    SessionPatch, SessionRepository, SessionToken, SwapOutcome, VersionedSession, clock::to_signed,
};

impl<R: SessionRepository> SessionManager<R> {
    /// Applies `patch` to the session if `precondition` returns `true` for the entity tag of the
    /// session's current state. Also renews the idle timeout. Logs `Session updated` (info).
    ///
    /// Concurrent updates are not lost. If the session is deleted during an update, the update does
    /// not restore it.
    ///
    /// # Errors
    /// - [`UpdateError::PreconditionFailed`]: `precondition` returned `false`; nothing was changed.
    /// - [`UpdateError::Cookies`]: the patched cookies would break a rule; nothing was changed.
    /// - [`UpdateError::Session`] with [`SessionError::NotFound`]: there is no live session with
    ///   this token.
    /// - [`UpdateError::Session`] with [`SessionError::Contended`]: concurrent requests kept
    ///   changing the session; nothing was changed.
    /// - [`UpdateError::Session`] with [`RepositoryError::Unavailable`]: it is unknown whether the
    ///   session was changed.
    /// - [`UpdateError::Session`] with [`RepositoryError::Full`], [`RepositoryError::Corrupt`] or
    ///   [`RepositoryError::NewerRecord`]: the session was not changed.
    #[tracing::instrument(name = "update session", skip_all)]
    pub async fn update(
        &self,
        token: &SessionToken,
        patch: &SessionPatch,
        precondition: impl Fn(EntityTag) -> bool + Send,
    ) -> Result<ActiveSession, UpdateError> {
        let loaded = self.load_for_update(token).await?;
        self.apply(token, loaded, patch, precondition).await
    }

    /// Loads the session for [`update_loaded`](Self::update_loaded). Does not renew the idle
    /// timeout.
    ///
    /// # Errors
    /// Returns the same errors as [`get`](Self::get).
    #[tracing::instrument(name = "load session for update", skip_all)]
    pub async fn load_for_update(
        &self,
        token: &SessionToken,
    ) -> Result<LoadedForUpdate, SessionError> {
        self.load_live_for_update(token, None).await
    }

    /// Loads the session with its revision. Renews the TTL of its record to `touch`, unless `touch`
    /// is `None`.
    pub(super) async fn load_live_for_update(
        &self,
        token: &SessionToken,
        touch: Option<Duration>,
    ) -> Result<LoadedForUpdate, SessionError> {
        let found = self.repository.load_for_update(token, touch).await;
        let found = self.log_if_corrupt(token, found)?;
        let Some(VersionedSession { session, revision }) = found else {
            return Err(not_found(token));
        };
        let now = self.repository.now();
        if self.remaining_after_touch(&session, now).is_none() {
            self.remove_expired(token, &session).await;
            return Err(not_found(token));
        }
        Ok(LoadedForUpdate {
            session: session.without_expired_cookies(now),
            revision,
            loaded_at: now,
        })
    }

    /// Updates the session like [`update`](Self::update), beginning with the state that
    /// [`load_for_update`](Self::load_for_update) has returned for the same token. If the session
    /// has changed since then, loads it again.
    ///
    /// # Errors
    /// Returns the same errors as [`update`](Self::update).
    #[tracing::instrument(name = "update session", skip_all)]
    pub async fn update_loaded(
        &self,
        token: &SessionToken,
        loaded: LoadedForUpdate,
        patch: &SessionPatch,
        precondition: impl Fn(EntityTag) -> bool + Send,
    ) -> Result<ActiveSession, UpdateError> {
        self.apply(token, loaded, patch, precondition).await
    }

    async fn apply(
        &self,
        token: &SessionToken,
        loaded: LoadedForUpdate,
        patch: &SessionPatch,
        precondition: impl Fn(EntityTag) -> bool + Send,
    ) -> Result<ActiveSession, UpdateError> {
        let patched = |session: Session, _| Ok((patch.apply(&session)?, true));
        let replaced = self.replace_loaded(token, loaded, precondition, patched);
        let Replaced {
            session,
            touched_at,
            ..
        } = replaced.await?;
        self.renew_entry(token, &session, touched_at);
        Ok(self.active(session, touched_at))
    }

    /// Replaces the session by the result of `change`, if `precondition` returns `true` for the
    /// entity tag of the session's current state. Begins with `loaded`. If the session has changed
    /// since then, loads it again and calls `change` again.
    ///
    /// `change` receives the session and the current time on the store's clock. It returns the
    /// changed session, and `true` if this session must be stored.
    pub(super) async fn replace_loaded(
        &self,
        token: &SessionToken,
        mut loaded: LoadedForUpdate,
        precondition: impl Fn(EntityTag) -> bool + Send,
        mut change: impl FnMut(Session, OffsetDateTime) -> Result<(Session, bool), UpdateError> + Send,
    ) -> Result<Replaced, UpdateError> {
        let loaded_at = loaded.loaded_at;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let LoadedForUpdate {
                session, revision, ..
            } = loaded;
            let now = self.repository.now();
            if self.remaining_after_touch(&session, now).is_none() {
                self.remove_expired(token, &session).await;
                return Err(not_found(token).into());
            }
            if !precondition(EntityTag::of(token, &session)) {
                return Err(UpdateError::PreconditionFailed);
            }
            let (session, is_changed) = change(session, now)?;
            if !is_changed {
                return Ok(Replaced {
                    session,
                    touched_at: loaded_at,
                    is_changed,
                });
            }
            let record_ttl = self.policy.record_ttl();
            let swapped = self
                .repository
                .compare_and_swap(token, &revision, &session, record_ttl);
            match swapped.await? {
                SwapOutcome::Swapped => {
                    self.note_touch(token, now);
                    tracing::info!(token_prefix = %token.prefix(), "Session updated");
                    return Ok(Replaced {
                        session,
                        touched_at: now,
                        is_changed,
                    });
                }
                SwapOutcome::Changed if attempt < MAX_TRIES => {
                    loaded = self.load_for_update(token).await?;
                }
                SwapOutcome::Changed => return Err(SessionError::Contended.into()),
                SwapOutcome::Gone => return Err(not_found(token).into()),
            }
        }
    }

    /// Returns the session with its expiry. `touched_at` is the time at which the TTL was renewed.
    pub(super) fn active(&self, session: Session, touched_at: OffsetDateTime) -> ActiveSession {
        let remaining = self.remaining_after_touch(&session, touched_at);
        ActiveSession {
            session,
            expires_at: touched_at.saturating_add(to_signed(remaining.unwrap_or_default())),
        }
    }
}

/// Result of [`SessionManager::replace_loaded`].
pub(super) struct Replaced {
    pub(super) session: Session,
    /// Time at which the changed session was stored, which renewed the TTL. If nothing was stored,
    /// [`LoadedForUpdate::loaded_at`] of the state with which the update began.
    pub(super) touched_at: OffsetDateTime,
    /// `true` if the changed session was stored.
    pub(super) is_changed: bool,
}

/// Loaded state of a session, from which an update begins. [`SessionManager::load_for_update`]
/// returns this state.
#[derive(Debug)]
pub struct LoadedForUpdate {
    pub(super) session: Session,
    pub(super) revision: Revision,
    /// Time at which the session was loaded, on the store's clock.
    pub(super) loaded_at: OffsetDateTime,
}

impl LoadedForUpdate {
    /// Returns the base URL of the session, as it was loaded.
    #[must_use]
    pub fn base_url(&self) -> &BaseUrl {
        &self.session.base_url
    }
}

/// Error of [`SessionManager::update`]: the reason why the session was not updated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The precondition rejected the current state of the session. Load the session again.
    #[error("the session's state does not satisfy the precondition")]
    PreconditionFailed,
    /// The patched session would have cookies that break a rule.
    #[error(transparent)]
    Cookies(#[from] CookiesError),
    /// The URL of a merge does not have the origin (scheme, host and port) of the session's base
    /// URL.
    #[error("the URL does not have the origin of the session's base URL")]
    ForeignUrl,
    /// There is no live session, concurrent requests kept changing the session, or the repository
    /// failed.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl From<RepositoryError> for UpdateError {
    fn from(error: RepositoryError) -> Self {
        Self::Session(error.into())
    }
}
