//! Rotation of a session that a client may repeat with an `Idempotency-Key`.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    IdempotentSession, MAX_TRIES, NewSession, SessionManager,
    claims::{Claim, Completion, Progress, may_be_completed},
    not_found,
};
use crate::{
    IdempotentRequest, MoveOutcome, RepositoryError, SessionError, SessionRepository, SessionToken,
    VersionedSession,
};

impl<R: SessionRepository> SessionManager<R> {
    /// Moves the session to a new token like [`rotate_while`](Self::rotate_while), but at most once
    /// for all requests with the key and the fingerprint of `request`. A repetition within 60
    /// seconds returns the result of the first request, although `token` is invalid by then.
    ///
    /// The new token stays valid if the result cannot be delivered, because the client can repeat
    /// the request. Do not drop the future before it completes.
    ///
    /// # Errors
    /// Returns the same errors as [`rotate_while`](Self::rotate_while), and:
    /// - [`SessionError::OperationInProgress`]: a request with the same key is still running.
    /// - [`SessionError::IdempotencyKeyReused`]: the key was used with another fingerprint.
    /// - [`RepositoryError::Unavailable`]: the session may have a new token. A repetition finishes
    ///   the rotation.
    #[tracing::instrument(name = "rotate session once", skip_all)]
    pub async fn rotate_once(
        &self,
        token: &SessionToken,
        request: &IdempotentRequest,
        may_move: impl Fn() -> bool,
    ) -> Result<IdempotentSession, SessionError> {
        let mut claim = match Box::pin(self.progress_of_rotation(token, request)).await? {
            Progress::Done(done) => return Ok(done),
            Progress::Begun(claim) => claim,
            Progress::Abandoned(abandoned) => {
                let successor = abandoned.token.clone();
                self.take_over(request, abandoned, successor).await?
            }
        };
        let has_tried = AtomicBool::new(false);
        let may_move = |claim: &Claim| {
            let may_move = self.has_lease(request, claim) && may_move();
            has_tried.fetch_or(may_move, Ordering::Relaxed);
            may_move
        };
        let rotated = self.rotate_claimed(token, request, &mut claim, may_move);
        let error = match Box::pin(rotated).await {
            Ok(new) => match self.complete(request, &claim, new).await? {
                Completion::Completed(session) => return Ok(*session),
                Completion::TakenOver | Completion::Superseded => {
                    return Err(SessionError::OperationInProgress);
                }
            },
            Err(error) => error,
        };
        // An error because of a corrupt index can also occur after the session was moved. The
        // idempotency record is therefore kept.
        let is_index_corrupt = matches!(
            error,
            SessionError::Repository(RepositoryError::CorruptIndex { .. })
        );
        if may_be_completed(&error) || is_index_corrupt {
            // In a partitioned store, a command of this request may still be on its way to one of
            // the partitions. The lease is then not ended early: when it ends by itself, the
            // command can no longer arrive.
            if !has_tried.load(Ordering::Relaxed) || !self.repository.is_partitioned() {
                self.release(request, &claim).await;
            }
            return Err(error);
        }
        self.forget(request, &claim).await?;
        if !claim.is_unused {
            self.remove_successor(token, &claim.token).await;
        }
        Err(error)
    }

    /// Begins the rotation if the session is live. If the token is invalid, looks up the
    /// idempotency record of the request, because an earlier attempt may have rotated the token.
    ///
    /// A new idempotency record is stored only for a live session.
    async fn progress_of_rotation(
        &self,
        token: &SessionToken,
        request: &IdempotentRequest,
    ) -> Result<Progress, SessionError> {
        let live = self.load_live(token).await;
        match &live {
            Ok(Some(_)) => return self.begin(request).await,
            Err(error) if !error.proves_invalid_token() => {}
            Ok(None) | Err(_) => {
                // A rotation stores its record before it moves the session. If a rotation has
                // invalidated the token, this look-up therefore finds the record.
                if let Some(progress) = self.find_progress(request).await? {
                    return Ok(progress);
                }
            }
        }
        Err(live.err().unwrap_or_else(|| not_found(token)))
    }

    /// Moves the session to the token of the claim, or finds the session that an earlier request
    /// has moved there.
    async fn rotate_claimed(
        &self,
        token: &SessionToken,
        request: &IdempotentRequest,
        claim: &mut Claim,
        may_move: impl Fn(&Claim) -> bool,
    ) -> Result<NewSession, SessionError> {
        let record_ttl = self.policy.record_ttl();
        for _ in 0..MAX_TRIES {
            let found =
                self.log_if_corrupt(token, self.repository.load_for_update(token, None).await)?;
            let Some(VersionedSession { session, revision }) = found else {
                return self.moved_earlier(token, &claim.token).await;
            };
            let now = self.repository.now();
            let Some(ttl) = self.remaining_after_touch(&session, now) else {
                self.remove_expired(token, &session).await;
                return Err(not_found(token));
            };
            let session = session.without_expired_cookies(now);
            let successor = claim.token.clone();
            // If the move fails, the index entry of the new token is kept unless the token is
            // replaced. The next attempt uses the same token, and a removal in the background could
            // remove the entry that the next attempt needs.
            let last_revocation = self.add_to_index(&successor, &session, Some(token)).await?;
            if !may_move(claim) {
                let reason = "not enough time is left for a rotation; the session was not changed";
                return Err(RepositoryError::unavailable(reason).into());
            }
            let moved = self
                .repository
                .move_repeatably(token, &revision, &successor, &session, record_ttl)
                .await;
            if matches!(moved, Ok(MoveOutcome::PartitionUnavailable)) && claim.is_unused {
                self.draw_again(request, claim).await?;
                self.remove_from_index(&successor, &session);
                continue;
            }
            claim.is_unused = false;
            match moved? {
                MoveOutcome::Moved => {
                    self.confirm_move(token, &successor, &session, last_revocation)
                        .await?;
                    self.note_touch(&successor, now);
                    return Ok(self.rotated(token, successor, session, (ttl, now)));
                }
                // If another request moves the session at this moment, the next attempt finds the
                // session under its new token.
                MoveOutcome::Changed | MoveOutcome::TokenTaken => {}
                MoveOutcome::Gone => return self.moved_earlier(token, &successor).await,
                MoveOutcome::PartitionUnavailable => {
                    let reason = "the partition of the new record is unavailable";
                    return Err(RepositoryError::unavailable(reason).into());
                }
            }
        }
        Err(SessionError::Contended)
    }

    /// Returns the session that an earlier request has moved to the token `successor`.
    async fn moved_earlier(
        &self,
        token: &SessionToken,
        successor: &SessionToken,
    ) -> Result<NewSession, SessionError> {
        if !self.repository.was_moved(token, successor).await? {
            return Err(not_found(token));
        }
        let Some((session, remaining)) = self.load_live(successor).await? else {
            return Err(not_found(token));
        };
        // The session is passed as its own predecessor, because its index entry already has the
        // position of the old token. The old token cannot be the predecessor, because its entry may
        // have been removed.
        let last_revocation = self
            .add_to_index(successor, &session, Some(successor))
            .await?;
        self.confirm_move(token, successor, &session, last_revocation)
            .await?;
        let now = self.repository.now();
        Ok(self.rotated(token, successor.clone(), session, (remaining.ttl, now)))
    }

    /// Removes the session record that a failed rotation may have stored under the new token
    /// `successor`. Removes nothing unless the session is live under the old token `token`, because
    /// the record under `successor` may otherwise be the only record of the session.
    async fn remove_successor(&self, token: &SessionToken, successor: &SessionToken) {
        if let Ok(Some((session, _))) = self.load_live(token).await {
            self.discard(successor, &session).await;
        }
    }
}
