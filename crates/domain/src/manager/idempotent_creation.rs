//! Creation of a session that a client may repeat with an `Idempotency-Key`.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    IdempotentSession, NewSession, SessionManager,
    claims::{Abandoned, Claim, Completion, Progress, may_be_completed},
    creation::UnusableTokens,
};
use crate::{
    IdempotentRequest, InsertOutcome, LastRevocation, Login, RepositoryError, Session,
    SessionError, SessionRepository, SessionToken,
};

impl<R: SessionRepository> SessionManager<R> {
    /// Creates a session like [`store_login_while`](Self::store_login_while), but at most once for
    /// all requests with the key and the fingerprint of `request`. A repetition within 60 seconds
    /// returns the result of the first request.
    ///
    /// The session is kept if the result cannot be delivered, because the client can repeat the
    /// request. Do not drop the future before it completes.
    ///
    /// # Errors
    /// Returns the same errors as [`store_login_while`](Self::store_login_while), and:
    /// - [`SessionError::OperationInProgress`]: a request with the same key is still running.
    /// - [`SessionError::IdempotencyKeyReused`]: the key was used with another fingerprint.
    /// - [`RepositoryError::Unavailable`]: the session may have been stored. A repetition finishes
    ///   the creation.
    #[tracing::instrument(name = "create session once", skip_all)]
    pub async fn store_login_once(
        &self,
        request: &IdempotentRequest,
        login: Login,
        is_wanted: impl Fn() -> bool,
    ) -> Result<IdempotentSession, SessionError> {
        let new = self.session_of(login);
        let (mut claim, stored) = match self.begin(request).await? {
            Progress::Done(done) => return Ok(done),
            Progress::Begun(claim) => (claim, None),
            Progress::Abandoned(abandoned) => {
                Box::pin(self.take_over_creation(request, abandoned, &new)).await?
            }
        };
        let is_stored = stored.is_some();
        let session = stored.unwrap_or(new);
        let is_unwanted = AtomicBool::new(false);
        let is_wanted = || {
            let is_wanted = is_wanted();
            is_unwanted.store(!is_wanted, Ordering::Relaxed);
            is_wanted
        };
        let created = self.create_claimed(request, &mut claim, &session, is_stored, is_wanted);
        let error = match Box::pin(created).await {
            Ok(new) => return self.complete_claimed(request, &claim, new).await,
            Err(error) => error,
        };
        let (error, may_be_delivered) =
            if may_be_completed(&error) && !is_unwanted.load(Ordering::Relaxed) {
                self.release(request, &claim).await;
                (error, true)
            } else {
                match self.forget(request, &claim).await {
                    Ok(()) => (error, false),
                    Err(error) => (error, true),
                }
            };
        // If another request has taken over with another token, no request delivers the token of
        // this claim.
        let is_lost = !may_be_delivered || self.is_superseded(request, &claim).await;
        if is_lost {
            self.discard(&claim.token, &session).await;
        }
        Err(error)
    }

    /// Takes over a creation that another request has not completed. Returns the claim and, if the
    /// other request has stored a session, that session.
    ///
    /// If the other request has stored no session, the claim has a new token, under which the
    /// caller must store the session `new`. The old token is not used again, because a command of
    /// the other request may still be on its way to the store. With the old token, this command
    /// could restore the session after the client has received the token and ended the session.
    async fn take_over_creation(
        &self,
        request: &IdempotentRequest,
        abandoned: Abandoned,
        new: &Session,
    ) -> Result<(Claim, Option<Session>), SessionError> {
        let stored = match self.load_live(&abandoned.token).await {
            Ok(found) => found.map(|(session, _)| session),
            Err(SessionError::Repository(RepositoryError::Corrupt { .. })) => None,
            Err(error) => return Err(error),
        };
        let old = abandoned.token.clone();
        let token = match &stored {
            Some(_) => old.clone(),
            None => SessionToken::generate_as(self.token_format),
        };
        let claim = self.take_over(request, abandoned, token).await?;
        if stored.is_none() {
            // If a late command of the other request still stores a session under the old token,
            // that session must not count towards the session limit of the subject.
            self.remove_from_index(&old, new);
        }
        Ok((claim, stored))
    }

    /// Stores `session` under the token of the claim, unless `is_stored` is `true`. Then applies
    /// the session limit of the subject.
    async fn create_claimed(
        &self,
        request: &IdempotentRequest,
        claim: &mut Claim,
        session: &Session,
        is_stored: bool,
        is_wanted: impl Fn() -> bool,
    ) -> Result<NewSession, SessionError> {
        let last_revocation = if is_stored {
            // The session is passed as its own predecessor, so that the index entry keeps its
            // position.
            let token = &claim.token;
            self.add_to_index(token, session, Some(token)).await?
        } else {
            self.insert_claimed(request, claim, session).await?
        };
        let token = claim.token.clone();
        let excess = self
            .excess_of_new(&token, session, last_revocation, is_wanted)
            .await?;
        if !excess.is_empty() {
            // If another request has taken over, `excess` may contain the session that the other
            // request has created. `renew_lease` fails in this case.
            self.renew_lease(request, claim).await?;
            self.evict(excess).await?;
        }
        Ok(self.created(token, session.clone()))
    }

    async fn insert_claimed(
        &self,
        request: &IdempotentRequest,
        claim: &mut Claim,
        session: &Session,
    ) -> Result<Option<LastRevocation>, SessionError> {
        let record_ttl = self.policy.initial_record_ttl();
        let mut unusable = UnusableTokens::default();
        loop {
            let last_revocation = self.add_to_index(&claim.token, session, None).await?;
            let token = claim.token.clone();
            // If it is unknown whether the session was stored, its index entry is kept, because a
            // repetition may find the session.
            let is_taken = match self.repository.insert(&token, session, record_ttl).await? {
                InsertOutcome::Inserted => return Ok(last_revocation),
                InsertOutcome::TokenTaken => true,
                InsertOutcome::PartitionUnavailable => false,
            };
            let counted = unusable.count(&token, is_taken);
            // The claim gets another token even if this was the last attempt. Otherwise, a repeated
            // request would take the session under the used token for its own.
            self.draw_again(request, claim).await?;
            self.remove_from_index(&token, session);
            counted?;
        }
    }

    async fn complete_claimed(
        &self,
        request: &IdempotentRequest,
        claim: &Claim,
        new: NewSession,
    ) -> Result<IdempotentSession, SessionError> {
        match self.complete(request, claim, new.clone()).await? {
            Completion::Completed(session) => Ok(*session),
            Completion::TakenOver => Err(SessionError::OperationInProgress),
            Completion::Superseded => {
                self.discard(&new.token, &new.session).await;
                Err(SessionError::OperationInProgress)
            }
        }
    }
}
