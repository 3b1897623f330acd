//! Changing a session.

use thiserror::Error;

use super::{ActiveSession, MAX_TRIES, SessionManager, not_found};
use crate::{
    CookiesError, EntityTag, RepositoryError, RevisedSession, SessionError, SessionPatch,
    SessionRepository, SessionToken, SwapOutcome, policy::to_signed,
};

impl<R: SessionRepository> SessionManager<R> {
    /// Changes the session if `precondition` holds for the entity tag of its state, and starts its
    /// idle timeout anew. No change of others is lost, and one that races a logout never brings the
    /// session back. Logs `Session updated` (info).
    ///
    /// # Errors
    /// [`UpdateError::PreconditionFailed`] or [`UpdateError::Cookies`] (nothing was changed), or
    /// [`UpdateError::Session`] with [`SessionError::NotFound`], [`SessionError::Contended`],
    /// [`RepositoryError::Unavailable`] (it may or may not have been changed),
    /// [`RepositoryError::Full`], [`RepositoryError::Corrupt`] or [`RepositoryError::NewerRecord`].
    #[tracing::instrument(name = "update session", skip_all)]
    pub async fn update(
        &self,
        token: &SessionToken,
        patch: &SessionPatch,
        precondition: impl Fn(EntityTag) -> bool + Send,
    ) -> Result<ActiveSession, UpdateError> {
        for _ in 0..MAX_TRIES {
            let found = self.observe(token, self.repository.fetch_revision(token).await)?;
            let Some(RevisedSession { session, revision }) = found else {
                return Err(not_found(token).into());
            };
            let now = self.repository.now();
            let idle_timeout = self.policy.idle_timeout();
            let Some(remaining) = self.policy.remaining(idle_timeout, &session, now) else {
                self.end(token, &session).await;
                return Err(not_found(token).into());
            };
            if !precondition(EntityTag::of(token, &session)) {
                return Err(UpdateError::PreconditionFailed);
            }
            let session = patch.apply(&session)?;
            let stored_for = self.policy.stored_for();
            let swapped = self
                .repository
                .compare_and_swap(token, &revision, &session, stored_for);
            match swapped.await? {
                SwapOutcome::Swapped => {
                    self.note_slide(token, now);
                    self.renew_entry(token, &session, now);
                    tracing::info!(token_prefix = %token.prefix(), "Session updated");
                    return Ok(ActiveSession {
                        session,
                        expires_at: now.saturating_add(to_signed(remaining)),
                    });
                }
                SwapOutcome::Changed => {}
                SwapOutcome::Gone => return Err(not_found(token).into()),
            }
        }
        Err(SessionError::Contended.into())
    }
}

/// A session was not changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The session is not in the state that the caller wants to change. Look at it anew.
    #[error("the session is in another state than the one to be changed")]
    PreconditionFailed,
    /// The session's cookies would break a rule.
    #[error(transparent)]
    Cookies(#[from] CookiesError),
    /// There is no such session, it changed too often meanwhile, or the repository failed.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl From<RepositoryError> for UpdateError {
    fn from(error: RepositoryError) -> Self {
        Self::Session(error.into())
    }
}
