//! Operation of the session manager that moves a session to a new token (rotation).

use std::time::Duration;

use time::OffsetDateTime;

use super::{MAX_TRIES, NewSession, SessionManager, creation::MAX_TOKEN_DRAWS, not_found};
use crate::{
    EndReason, LastRevocation, MoveOutcome, RepositoryError, Session, SessionError, SessionEvent,
    SessionRepository, SessionToken, VersionedSession, clock::to_signed,
};

impl<R: SessionRepository> SessionManager<R> {
    /// Moves the session to a new token and renews its idle timeout. Expired cookies are removed.
    /// All other data of the session stays unchanged, including the end of its absolute lifetime.
    /// Logs `Session rotated` (info).
    ///
    /// After the call has returned the new token, no instance accepts the old token. There is one
    /// exception: another instance with a near cache (copies of sessions in its memory) may accept
    /// the old token until the invalidation arrives.
    ///
    /// If several calls rotate the same token concurrently, exactly one of them succeeds.
    ///
    /// # Errors
    /// - [`SessionError::NotFound`]: there is no live session with this token.
    /// - [`SessionError::Contended`]: concurrent requests kept changing the session.
    /// - [`RepositoryError::Unavailable`](crate::RepositoryError::Unavailable): the old token may
    ///   be invalid although no new token was returned. In that case, the client must create a new
    ///   session.
    /// - [`RepositoryError::Full`](crate::RepositoryError::Full): the store has no room for the new
    ///   record.
    /// - [`RepositoryError::Corrupt`](crate::RepositoryError::Corrupt): the data stored under the
    ///   token is not a session.
    /// - [`RepositoryError::NewerRecord`](crate::RepositoryError::NewerRecord): a newer release
    ///   wrote the session's record.
    pub async fn rotate(&self, token: &SessionToken) -> Result<NewSession, SessionError> {
        self.rotate_while(token, || true).await
    }

    /// Moves the session to a new token like [`rotate`](Self::rotate). Calls `may_move` immediately
    /// before the move. If `may_move` returns `false`, the session is not moved and the old token
    /// stays valid.
    ///
    /// After `may_move`, two repository calls follow: the move, which takes two steps in a
    /// [partitioned](SessionRepository::is_partitioned) store, and a check of the subject index.
    /// `may_move` should return `false` if too little time is left for these calls, or if the
    /// client no longer waits for the new token.
    ///
    /// If the returned session cannot be delivered, call
    /// [`discard_undelivered`](Self::discard_undelivered). Do not drop the future before it
    /// completes, because the old token could then be invalid and the new token unknown.
    ///
    /// # Errors
    /// Returns the same errors as [`rotate`](Self::rotate). Returns
    /// [`RepositoryError::Unavailable`](crate::RepositoryError::Unavailable) if `may_move` returned
    /// `false`.
    #[tracing::instrument(name = "rotate session", skip_all)]
    pub async fn rotate_while(
        &self,
        token: &SessionToken,
        may_move: impl Fn() -> bool,
    ) -> Result<NewSession, SessionError> {
        let mut draws = 0;
        for _ in 0..MAX_TRIES {
            let found =
                self.log_if_corrupt(token, self.repository.load_for_update(token, None).await)?;
            let Some(VersionedSession { session, revision }) = found else {
                return Err(not_found(token));
            };
            let now = self.repository.now();
            let Some(ttl) = self.remaining_after_touch(&session, now) else {
                self.remove_expired(token, &session).await;
                return Err(not_found(token));
            };
            let session = session.without_expired_cookies(now);
            let successor = SessionToken::generate_as(self.token_format);
            let last_revocation = self.add_to_index(&successor, &session, Some(token)).await?;
            if !may_move() {
                self.remove_from_index(&successor, &session);
                let reason = "not enough time is left for a rotation; the session was not changed";
                return Err(RepositoryError::unavailable(reason).into());
            }
            let record_ttl = self.policy.record_ttl();
            let moved = self
                .repository
                .move_to_new_token(token, &revision, &successor, &session, record_ttl);
            let outcome = match moved.await {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.remove_from_index(&successor, &session);
                    return Err(error.into());
                }
            };
            match outcome {
                MoveOutcome::Moved => {
                    let confirmed = self.confirm_move(token, &successor, &session, last_revocation);
                    match confirmed.await {
                        Ok(()) => {
                            self.note_touch(&successor, now);
                            return Ok(self.rotated(token, successor, session, (ttl, now)));
                        }
                        Err(SessionError::NotFound) => return Err(SessionError::NotFound),
                        Err(error) => {
                            self.discard(&successor, &session).await;
                            return Err(error);
                        }
                    }
                }
                MoveOutcome::Gone => {
                    self.remove_from_index(&successor, &session);
                    return Err(not_found(token));
                }
                MoveOutcome::Changed => self.remove_from_index(&successor, &session),
                MoveOutcome::TokenTaken | MoveOutcome::PartitionUnavailable => {
                    self.remove_from_index(&successor, &session);
                    draws += 1;
                    if draws == MAX_TOKEN_DRAWS {
                        let reason = "no partition that was tried accepted the new record";
                        return Err(RepositoryError::unavailable(reason).into());
                    }
                }
            }
        }
        Err(SessionError::Contended)
    }

    /// Removes the index entry of the old token, and checks the index entry of the new token. If
    /// all sessions of the subject were revoked while the record was moved, removes the new record.
    pub(super) async fn confirm_move(
        &self,
        token: &SessionToken,
        successor: &SessionToken,
        session: &Session,
        last_revocation: Option<LastRevocation>,
    ) -> Result<(), SessionError> {
        self.remove_from_index(token, session);
        if self
            .is_in_index(successor, session, last_revocation)
            .await?
        {
            return Ok(());
        }
        if self.discard(successor, session).await {
            (self.observer)(SessionEvent::Ended(EndReason::Revoked), 1);
        }
        Err(not_found(token))
    }

    /// Returns the remaining lifetime of a session that is touched at the time `now`. Returns
    /// `None` if the session is past its absolute lifetime.
    pub(super) fn remaining_after_touch(
        &self,
        session: &Session,
        now: OffsetDateTime,
    ) -> Option<Duration> {
        let idle_timeout = self.policy.idle_timeout();
        self.policy.remaining(idle_timeout, session, now)
    }

    /// Logs a completed rotation and reports it to the observer. Returns the session with its new
    /// token. `ttl` is the remaining lifetime of the session at the time `now`.
    pub(super) fn rotated(
        &self,
        token: &SessionToken,
        successor: SessionToken,
        session: Session,
        (ttl, now): (Duration, OffsetDateTime),
    ) -> NewSession {
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
