//! Claims: the right of one request to carry out an operation that clients may repeat with an
//! `Idempotency-Key`.
//!
//! The new token is stored in an idempotency record before the operation begins. A repetition, on
//! any instance, finds the record. While the lease of the record lasts, only the request that holds
//! the claim works on the operation. After that, a repetition takes the claim over and finishes the
//! operation.
//!
//! Each change of the record is a compare-and-swap with the revision in the claim. A request that
//! was slow and has lost its claim therefore notices the loss. Such a request does not undo the
//! operation, and does not deliver a token if another request may deliver a different one.

use std::time::Duration;

use time::OffsetDateTime;

use super::{NewSession, SessionManager};
use crate::{
    BeginOutcome, EntityTag, ErrorChain, IdempotencyRecord, IdempotencyState, IdempotencyStore,
    IdempotentRequest, IdempotentResult, Revision, SessionError, SessionRepository, SessionToken,
    VersionedRecord, clock::to_signed,
};

/// Lifetime of an idempotency record after each change. A client can repeat a request within this
/// time. The time is longer than any lease, so a record does not expire while its operation runs.
const RECORD_TTL: Duration = Duration::from_secs(60);

/// Result of a request that the client may repeat with an `Idempotency-Key`.
#[derive(Debug, Clone)]
pub struct IdempotentSession {
    /// Bearer token of the session. Give the token to the client and do not store it.
    pub token: SessionToken,
    /// Lifetime and entity tag of the session at the end of the operation.
    pub result: IdempotentResult,
    /// `true` if the result belongs to an operation that an earlier request has begun.
    pub is_replay: bool,
}

impl From<NewSession> for IdempotentSession {
    fn from(new: NewSession) -> Self {
        Self {
            result: IdempotentResult {
                ttl: new.ttl,
                expires_at: new.expires_at,
                tag: EntityTag::of(&new.token, &new.session),
            },
            token: new.token,
            is_replay: false,
        }
    }
}

/// The right of one request to carry out an operation that has an `Idempotency-Key`.
pub(super) struct Claim {
    /// New token of the session that the operation creates or rotates.
    pub(super) token: SessionToken,
    /// `true` if the operation was begun by another request.
    pub(super) is_replay: bool,
    /// `true` if no rotation can have moved the session to `token` yet. Only then may the rotation
    /// replace `token` by another new token. Creations do not use this field.
    pub(super) is_unused: bool,
    revision: Revision,
    until: OffsetDateTime,
}

/// Progress of an operation when a request with its `Idempotency-Key` arrives.
pub(super) enum Progress {
    /// No other request has begun the operation. This request has the claim.
    Begun(Claim),
    /// Another request has begun the operation but not completed it, and the lease of that request
    /// has ended.
    Abandoned(Abandoned),
    /// Another request has completed the operation.
    Done(IdempotentSession),
}

/// An operation with an `Idempotency-Key` that another request has begun and not completed.
pub(super) struct Abandoned {
    pub(super) token: SessionToken,
    revision: Revision,
}

/// Outcome of the attempt to store the result of an operation.
pub(super) enum Completion {
    /// The result was stored and may be delivered to the client.
    Completed(Box<IdempotentSession>),
    /// Another request has taken over the claim, and finishes the operation with the same token.
    TakenOver,
    /// Another request has taken over the claim, and uses another token. No request will ever
    /// deliver the token of this operation.
    Superseded,
}

impl<R: SessionRepository> SessionManager<R> {
    /// Stores an idempotency record with a new session token, unless the store already has a record
    /// for the idempotency key.
    pub(super) async fn begin(
        &self,
        request: &IdempotentRequest,
    ) -> Result<Progress, SessionError> {
        let token = SessionToken::generate_as(self.token_format);
        let (record, until) = self.running(request, token.clone(), request.lease);
        let store = self.repository.idempotency();
        match store.begin(&request.key, &record, RECORD_TTL).await? {
            BeginOutcome::Exists(existing) => self.progress_of(request, *existing),
            BeginOutcome::Begun(revision) => Ok(Progress::Begun(Claim {
                token,
                is_replay: false,
                is_unused: true,
                revision,
                until,
            })),
        }
    }

    /// Loads the idempotency record of the request, and returns the progress of its operation.
    /// Returns `None` if there is no record.
    pub(super) async fn find_progress(
        &self,
        request: &IdempotentRequest,
    ) -> Result<Option<Progress>, SessionError> {
        let found = self.repository.idempotency().find(&request.key).await?;
        found
            .map(|found| self.progress_of(request, found))
            .transpose()
    }

    fn progress_of(
        &self,
        request: &IdempotentRequest,
        found: VersionedRecord,
    ) -> Result<Progress, SessionError> {
        let VersionedRecord { record, revision } = found;
        if record.fingerprint != request.fingerprint {
            return Err(SessionError::IdempotencyKeyReused);
        }
        let token = record.token;
        match record.state {
            IdempotencyState::Done(result) => Ok(Progress::Done(IdempotentSession {
                token,
                result,
                is_replay: true,
            })),
            IdempotencyState::Running { until } if self.repository.now() < until => {
                Err(SessionError::OperationInProgress)
            }
            IdempotencyState::Running { .. } => {
                Ok(Progress::Abandoned(Abandoned { token, revision }))
            }
        }
    }

    /// Takes over an operation that another request has not completed, and continues it with
    /// `token`. If several requests take over the operation at the same time, only one of them
    /// succeeds.
    pub(super) async fn take_over(
        &self,
        request: &IdempotentRequest,
        abandoned: Abandoned,
        token: SessionToken,
    ) -> Result<Claim, SessionError> {
        let is_unused = token != abandoned.token;
        let begun = self.begin_lease(request, &abandoned.revision, &token).await;
        let (revision, until) = begun?;
        Ok(Claim {
            token,
            is_replay: true,
            is_unused,
            revision,
            until,
        })
    }

    /// Replaces the token of the claim by a new token. This is necessary if the old token is in use
    /// already, or if its partition of the store is unavailable. The caller must not have stored
    /// anything under the old token.
    pub(super) async fn draw_again(
        &self,
        request: &IdempotentRequest,
        claim: &mut Claim,
    ) -> Result<(), SessionError> {
        let token = SessionToken::generate_as(self.token_format);
        let begun = self.begin_lease(request, &claim.revision, &token).await;
        (claim.revision, claim.until) = begun?;
        claim.token = token;
        claim.is_unused = true;
        Ok(())
    }

    /// Begins a new lease of the claimed operation.
    ///
    /// # Errors
    /// [`SessionError::OperationInProgress`] if another request has taken over the claim.
    pub(super) async fn renew_lease(
        &self,
        request: &IdempotentRequest,
        claim: &mut Claim,
    ) -> Result<(), SessionError> {
        let begun = self
            .begin_lease(request, &claim.revision, &claim.token)
            .await;
        (claim.revision, claim.until) = begun?;
        Ok(())
    }

    /// Overwrites the idempotency record of the request if it still has the revision `seen`. In the
    /// new record, the operation is running, with `token` and a new lease. Returns the new revision
    /// and the end of the lease.
    async fn begin_lease(
        &self,
        request: &IdempotentRequest,
        seen: &Revision,
        token: &SessionToken,
    ) -> Result<(Revision, OffsetDateTime), SessionError> {
        let (record, until) = self.running(request, token.clone(), request.lease);
        let store = self.repository.idempotency();
        let replaced = store
            .replace(&request.key, seen, &record, RECORD_TTL)
            .await?;
        let revision = replaced.ok_or(SessionError::OperationInProgress)?;
        Ok((revision, until))
    }

    /// Returns `true` if another request has taken over the claim and uses another token. In this
    /// case, no request will ever deliver the token of the claim.
    pub(super) async fn is_superseded(&self, request: &IdempotentRequest, claim: &Claim) -> bool {
        let found = self.repository.idempotency().find(&request.key).await;
        matches!(found, Ok(Some(found)) if found.record.token != claim.token)
    }

    /// Returns `true` if more than half of the lease is left. A call of the store that starts now
    /// then ends before another request can take over the claim.
    pub(super) fn has_lease(&self, request: &IdempotentRequest, claim: &Claim) -> bool {
        self.repository.now() < claim.until.saturating_sub(to_signed(request.lease / 2))
    }

    /// Stores the result of a successful operation. The caller must not deliver the token before
    /// this call has succeeded. Otherwise, the client could end the session, and a repetition that
    /// finds no result would carry out the operation again.
    pub(super) async fn complete(
        &self,
        request: &IdempotentRequest,
        claim: &Claim,
        new: NewSession,
    ) -> Result<Completion, SessionError> {
        let session = IdempotentSession {
            is_replay: claim.is_replay,
            ..new.into()
        };
        let record = IdempotencyRecord {
            fingerprint: request.fingerprint,
            token: session.token.clone(),
            state: IdempotencyState::Done(session.result),
        };
        let store = self.repository.idempotency();
        let replaced = store.replace(&request.key, &claim.revision, &record, RECORD_TTL);
        match replaced.await {
            Ok(Some(_)) => return Ok(Completion::Completed(Box::new(session))),
            Ok(None) => {}
            Err(error) => {
                self.release(request, claim).await;
                return Err(error.into());
            }
        }
        // Another request has taken over, or the record does not exist any more. In the second
        // case, either the store has lost the record, or a request that took over has failed
        // permanently and has ended the session.
        if self.load_live(&session.token).await?.is_none() {
            return Ok(Completion::Superseded);
        }
        let found = match store.begin(&request.key, &record, RECORD_TTL).await? {
            BeginOutcome::Begun(_) => return Ok(Completion::Completed(Box::new(session))),
            BeginOutcome::Exists(found) => found.record,
        };
        Ok(match found.state {
            _ if found.token != session.token => Completion::Superseded,
            IdempotencyState::Running { .. } => Completion::TakenOver,
            IdempotencyState::Done(result) => Completion::Completed(Box::new(IdempotentSession {
                result,
                is_replay: true,
                ..session
            })),
        })
    }

    /// Ends the lease of an operation with an unknown outcome, so that a repetition can continue at
    /// once. If this fails, a repetition waits for the end of the lease.
    pub(super) async fn release(&self, request: &IdempotentRequest, claim: &Claim) {
        let (record, _) = self.running(request, claim.token.clone(), Duration::ZERO);
        let store = self.repository.idempotency();
        let replaced = store.replace(&request.key, &claim.revision, &record, RECORD_TTL);
        if let Err(error) = replaced.await {
            tracing::debug!(
                error = %ErrorChain(&error),
                "Idempotency record not released; a repetition waits for the end of the lease"
            );
        }
    }

    /// Removes the idempotency record of an operation that has failed permanently, so that a
    /// repetition starts the operation again. The caller may undo the operation only if this call
    /// succeeds. Otherwise, another request may be about to complete the operation.
    pub(super) async fn forget(
        &self,
        request: &IdempotentRequest,
        claim: &Claim,
    ) -> Result<(), SessionError> {
        let store = self.repository.idempotency();
        match store.forget(&request.key, &claim.revision).await? {
            true => Ok(()),
            false => Err(SessionError::OperationInProgress),
        }
    }

    fn running(
        &self,
        request: &IdempotentRequest,
        token: SessionToken,
        lease: Duration,
    ) -> (IdempotencyRecord, OffsetDateTime) {
        let until = self.repository.now().saturating_add(to_signed(lease));
        let record = IdempotencyRecord {
            fingerprint: request.fingerprint,
            token,
            state: IdempotencyState::Running { until },
        };
        (record, until)
    }
}

/// Returns `true` if the operation may have succeeded despite `error`, or if another instance may
/// be able to complete the operation. In both cases, the idempotency record is kept.
pub(super) fn may_be_completed(error: &SessionError) -> bool {
    matches!(error, SessionError::Repository(error) if error.may_be_completed())
}
