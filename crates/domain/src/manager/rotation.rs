//! A new token for a session.

use std::time::Duration;

use time::OffsetDateTime;

use super::{MAX_TRIES, NewSession, SessionManager, creation::MAX_TOKEN_DRAWS, not_found};
use crate::{
    EndReason, RelocateOutcome, RepositoryError, RevisedSession, Session, SessionError,
    SessionEvent, SessionRepository, SessionToken, policy::to_signed,
};

impl<R: SessionRepository> SessionManager<R> {
    /// Puts the session under a new token, and starts its idle timeout anew; all else stays, its
    /// absolute end included. When this returns the new token, the old one opens nothing on any
    /// instance. Of several rotations of one token, one succeeds. Logs `Session rotated` (info).
    ///
    /// # Errors
    /// [`SessionError::NotFound`], [`SessionError::Contended`],
    /// [`RepositoryError::Unavailable`](crate::RepositoryError::Unavailable) (the old token may be dead,
    /// and nobody knows a new one: log in again if it is),
    /// [`RepositoryError::Full`](crate::RepositoryError::Full),
    /// [`RepositoryError::Corrupt`](crate::RepositoryError::Corrupt) or
    /// [`RepositoryError::NewerRecord`](crate::RepositoryError::NewerRecord).
    #[tracing::instrument(name = "rotate session", skip_all)]
    pub async fn rotate(&self, token: &SessionToken) -> Result<NewSession, SessionError> {
        let mut draws = 0;
        for _ in 0..MAX_TRIES {
            let found = self.observe(token, self.repository.fetch_revision(token).await)?;
            let Some(RevisedSession { session, revision }) = found else {
                return Err(not_found(token));
            };
            let now = self.repository.now();
            let idle_timeout = self.policy.idle_timeout();
            let Some(ttl) = self.policy.remaining(idle_timeout, &session, now) else {
                self.end(token, &session).await;
                return Err(not_found(token));
            };
            let successor = SessionToken::generate_as(self.token_format);
            let entered = self.enter_index(&successor, &session, Some(token)).await?;
            let stored_for = self.policy.stored_for();
            let moved = self
                .repository
                .relocate(token, &revision, &successor, &session, stored_for);
            let outcome = match moved.await {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.leave_index(&successor, &session);
                    return Err(error.into());
                }
            };
            match outcome {
                RelocateOutcome::Relocated => {
                    self.leave_index(token, &session);
                    // All sessions may have been revoked while it was on its way.
                    match self.stands_in_index(&successor, &session, entered).await {
                        Ok(true) => return Ok(self.rotated(token, successor, session, ttl, now)),
                        Ok(false) => {
                            if self.discard(&successor, &session).await {
                                (self.observer)(SessionEvent::Ended(EndReason::Revoked), 1);
                            }
                            return Err(not_found(token));
                        }
                        Err(error) => {
                            self.discard(&successor, &session).await;
                            return Err(error.into());
                        }
                    }
                }
                RelocateOutcome::Gone => {
                    self.leave_index(&successor, &session);
                    return Err(not_found(token));
                }
                RelocateOutcome::Changed => self.leave_index(&successor, &session),
                RelocateOutcome::TokenTaken | RelocateOutcome::OutOfReach => {
                    self.leave_index(&successor, &session);
                    draws += 1;
                    if draws == MAX_TOKEN_DRAWS {
                        let reason = "no part of the store that was tried takes the new record";
                        return Err(RepositoryError::unavailable(reason).into());
                    }
                }
            }
        }
        Err(SessionError::Contended)
    }

    fn rotated(
        &self,
        token: &SessionToken,
        successor: SessionToken,
        session: Session,
        ttl: Duration,
        now: OffsetDateTime,
    ) -> NewSession {
        self.note_slide(&successor, now);
        (self.observer)(SessionEvent::Rotated, 1);
        tracing::info!(
            token_prefix = %token.prefix(),
            new_token_prefix = %successor.prefix(),
            "Session rotated"
        );
        NewSession {
            token: successor,
            session,
            ttl,
            expires_at: now.saturating_add(to_signed(ttl)),
        }
    }
}
