//! Operation of the session manager that moves a session to a new token (rotation).

use std::time::Duration;

use time::OffsetDateTime;

use super::{MAX_TRIES, NewSession, SessionManager, creation::MAX_TOKEN_DRAWS, not_found};
use crate::{
    EndReason, LastRevocation, MoveOutcome, RepositoryError, Session, SessionError, SessionEvent,
    SessionRepository, SessionToken, SessionTtl, VersionedSession, clock::to_signed,
};

impl<R: SessionRepository> SessionManager<R> {
    /// Moves the session to a new token and renews its idle timeout. All attributes of the session
    /// stay unchanged, including the end of its absolute lifetime. Logs `Session rotated` (info).
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
    /// After `may_move`, two repository calls follow: the move, and a check of the subject index.
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
            let successor = SessionToken::generate_as(self.token_format);
            match self
                .try_to_move(token, &successor, &may_move, false)
                .await?
            {
                Attempt::Moved(new) => return Ok(*new),
                Attempt::Changed => {}
                Attempt::TokenTaken | Attempt::PartitionUnavailable => {
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

    /// Moves the session to the token `successor`, or finds the session that an earlier attempt has
    /// moved there. Returns `None` if the partition for `successor` is unavailable. Nothing was
    /// changed then.
    pub(super) async fn rotate_to(
        &self,
        token: &SessionToken,
        successor: &SessionToken,
        may_move: impl Fn() -> bool,
    ) -> Result<Option<NewSession>, SessionError> {
        for _ in 0..MAX_TRIES {
            match self.try_to_move(token, successor, &may_move, true).await {
                Ok(Attempt::Moved(new)) => return Ok(Some(*new)),
                Ok(Attempt::Changed) => {}
                // An earlier attempt stored the new record and did not remove the old one. No
                // client has the new token yet.
                Ok(Attempt::TokenTaken) => {
                    self.repository.remove(successor).await?;
                }
                Ok(Attempt::PartitionUnavailable) => return Ok(None),
                Err(SessionError::NotFound) => return self.moved_earlier(token, successor).await,
                Err(error) => return Err(error),
            }
        }
        Err(SessionError::Contended)
    }

    /// Returns the session that an earlier attempt has moved to the token `successor`.
    async fn moved_earlier(
        &self,
        token: &SessionToken,
        successor: &SessionToken,
    ) -> Result<Option<NewSession>, SessionError> {
        let Some((session, SessionTtl { ttl, .. })) = self.load_live(successor).await? else {
            return Err(SessionError::NotFound);
        };
        let last_revocation = self.add_to_index(successor, &session, Some(token)).await?;
        let now = self.repository.now();
        self.confirm_move(token, successor, &session, last_revocation)
            .await?;
        Ok(Some(self.rotated(
            token,
            successor.clone(),
            session,
            ttl,
            now,
        )))
    }

    /// Tries once to move the session to the token `successor`. If `is_repeatable` is `true`, a
    /// moved session is kept although its index entry could not be checked, because a repetition
    /// of the request checks the entry.
    async fn try_to_move(
        &self,
        token: &SessionToken,
        successor: &SessionToken,
        may_move: impl Fn() -> bool,
        is_repeatable: bool,
    ) -> Result<Attempt, SessionError> {
        let found = self.log_if_corrupt(token, self.repository.load_for_update(token).await)?;
        let Some(VersionedSession { session, revision }) = found else {
            return Err(not_found(token));
        };
        let now = self.repository.now();
        let idle_timeout = self.policy.idle_timeout();
        let Some(ttl) = self.policy.remaining(idle_timeout, &session, now) else {
            self.remove_expired(token, &session).await;
            return Err(not_found(token));
        };
        let last_revocation = self.add_to_index(successor, &session, Some(token)).await?;
        if !may_move() {
            self.remove_from_index(successor, &session);
            let reason = "not enough time is left for a rotation; the session was not changed";
            return Err(RepositoryError::unavailable(reason).into());
        }
        let record_ttl = self.policy.record_ttl();
        let moved = self
            .repository
            .move_to_new_token(token, &revision, successor, &session, record_ttl)
            .await;
        if !matches!(moved, Ok(MoveOutcome::Moved)) {
            self.remove_from_index(successor, &session);
        }
        match moved? {
            MoveOutcome::Moved => {
                let confirmed = self.confirm_move(token, successor, &session, last_revocation);
                match confirmed.await {
                    Ok(()) => {}
                    Err(error) if is_repeatable => return Err(error),
                    Err(error) => {
                        self.discard(successor, &session).await;
                        return Err(error);
                    }
                }
                let successor = successor.clone();
                let new = self.rotated(token, successor, session, ttl, now);
                Ok(Attempt::Moved(Box::new(new)))
            }
            MoveOutcome::Gone => Err(not_found(token)),
            MoveOutcome::Changed => Ok(Attempt::Changed),
            MoveOutcome::TokenTaken => Ok(Attempt::TokenTaken),
            MoveOutcome::PartitionUnavailable => Ok(Attempt::PartitionUnavailable),
        }
    }

    /// Removes the index entry of the old token, and checks that of the new token. All sessions of
    /// the subject may have been revoked while the record was moved. In that case, removes the new
    /// record.
    async fn confirm_move(
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

    fn rotated(
        &self,
        token: &SessionToken,
        successor: SessionToken,
        session: Session,
        ttl: Duration,
        now: OffsetDateTime,
    ) -> NewSession {
        self.note_touch(&successor, now);
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

/// Outcome of one attempt to move a session to a new token.
enum Attempt {
    Moved(Box<NewSession>),
    /// The session has changed since it was read. Nothing was changed.
    Changed,
    /// The new token already has a record. Nothing was changed.
    TokenTaken,
    /// The partition for the new token is unavailable. Nothing was changed.
    PartitionUnavailable,
}
