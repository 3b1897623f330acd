//! Operations of the session manager that a client may repeat with an `Idempotency-Key`.
//!
//! The new token is stored in a record before the operation begins. A repetition, on any instance,
//! finds the record and finishes the same operation with the same token. Neither operation gives
//! out the token of a session twice to different clients, because the record can only be found and
//! decrypted with the credential of the client.

use std::time::Duration;

use super::{IdempotentSession, NewSession, SessionManager, creation::MAX_TOKEN_DRAWS, not_found};
use crate::{
    ErrorChain, IdempotencyRecord, IdempotencyState, IdempotencyStore, IdempotentRequest,
    InsertOutcome, Login, RepositoryError, SessionError, SessionRepository, SessionToken,
    clock::to_signed,
};

/// Lifetime of an idempotency record. A client can repeat a request within this time.
const RECORD_TTL: Duration = Duration::from_secs(60);

/// What a request with an `Idempotency-Key` has to do.
enum Begun {
    /// Run the operation with this token.
    Run {
        token: SessionToken,
        is_replay: bool,
    },
    /// Return the result of an earlier request.
    Done(IdempotentSession),
}

impl<R: SessionRepository> SessionManager<R> {
    /// Creates a session like [`store_login_while`](Self::store_login_while), but at most once for
    /// all requests that are equal to `request`. A repetition within 60 seconds returns the result
    /// of the first request.
    ///
    /// # Errors
    /// Returns the same errors as [`store_login_while`](Self::store_login_while), and:
    /// - [`SessionError::OperationInProgress`]: an equal request is still running.
    /// - [`SessionError::IdempotencyKeyReused`]: another request had the same key.
    /// - [`RepositoryError::Unavailable`]: the session may have been stored. A repetition finds out.
    #[tracing::instrument(name = "create session once", skip_all)]
    pub async fn store_login_once(
        &self,
        request: &IdempotentRequest,
        login: Login,
        is_wanted: impl Fn() -> bool,
    ) -> Result<IdempotentSession, SessionError> {
        for _ in 0..MAX_TOKEN_DRAWS {
            let (token, is_replay) = match self.begin(request).await? {
                Begun::Run { token, is_replay } => (token, is_replay),
                Begun::Done(done) => return Ok(done),
            };
            match Box::pin(self.create_under(&token, login.clone(), &is_wanted)).await {
                Ok(Some(new)) => return Ok(self.complete(request, new, is_replay).await),
                Ok(None) => self.repository.idempotency().forget(&request.key).await?,
                Err(error) => return Err(self.give_up(request, token, error).await),
            }
        }
        let reason = "every partition of the store that was tried is unavailable";
        Err(RepositoryError::unavailable(reason).into())
    }

    /// Moves the session to a new token like [`rotate_while`](Self::rotate_while), but at most once
    /// for all requests that are equal to `request`. A repetition within 60 seconds returns the
    /// result of the first request, although `token` is invalid by then.
    ///
    /// # Errors
    /// Returns the same errors as [`rotate_while`](Self::rotate_while), and:
    /// - [`SessionError::OperationInProgress`]: an equal request is still running.
    /// - [`SessionError::IdempotencyKeyReused`]: another request had the same key.
    /// - [`RepositoryError::Unavailable`]: the session may have a new token. A repetition finds out.
    #[tracing::instrument(name = "rotate session once", skip_all)]
    pub async fn rotate_once(
        &self,
        token: &SessionToken,
        request: &IdempotentRequest,
        may_move: impl Fn() -> bool,
    ) -> Result<IdempotentSession, SessionError> {
        // The record is looked up before the token, because a completed rotation has invalidated
        // the token. A record is stored only for a valid token.
        let mut found = match self.repository.idempotency().find(&request.key).await? {
            Some(record) => Some(self.resume(request, record)?),
            None if self.load_live(token).await?.is_none() => return Err(not_found(token)),
            None => None,
        };
        for _ in 0..MAX_TOKEN_DRAWS {
            let begun = match found.take() {
                Some(begun) => begun,
                None => self.begin(request).await?,
            };
            let (successor, is_replay) = match begun {
                Begun::Run { token, is_replay } => (token, is_replay),
                Begun::Done(done) => return Ok(done),
            };
            match Box::pin(self.rotate_to(token, &successor, &may_move)).await {
                Ok(Some(new)) => return Ok(self.complete(request, new, is_replay).await),
                Ok(None) => self.repository.idempotency().forget(&request.key).await?,
                Err(error) => return Err(self.give_up(request, successor, error).await),
            }
        }
        let reason = "no partition that was tried accepted the new record";
        Err(RepositoryError::unavailable(reason).into())
    }

    /// Stores a record with a new token, unless the store already has a record of the request.
    async fn begin(&self, request: &IdempotentRequest) -> Result<Begun, SessionError> {
        let token = SessionToken::generate_as(self.token_format);
        let record = self.running(request, token.clone(), request.lease);
        let store = self.repository.idempotency();
        match store.begin(&request.key, &record, RECORD_TTL).await? {
            Some(record) => self.resume(request, record),
            None => Ok(Begun::Run {
                token,
                is_replay: false,
            }),
        }
    }

    /// Decides what a repetition does that has found `record`.
    fn resume(
        &self,
        request: &IdempotentRequest,
        record: IdempotencyRecord,
    ) -> Result<Begun, SessionError> {
        if record.fingerprint != request.fingerprint {
            return Err(SessionError::IdempotencyKeyReused);
        }
        let token = record.token;
        match record.state {
            IdempotencyState::Done(result) => Ok(Begun::Done(IdempotentSession {
                token,
                result,
                is_replay: true,
            })),
            IdempotencyState::Running { until } if self.repository.now() < until => {
                Err(SessionError::OperationInProgress)
            }
            IdempotencyState::Running { .. } => Ok(Begun::Run {
                token,
                is_replay: true,
            }),
        }
    }

    /// Creates a session under `token`, or finds the session that an earlier request has stored
    /// there. Returns `None` if the partition for `token` is unavailable. Nothing is stored then.
    async fn create_under(
        &self,
        token: &SessionToken,
        login: Login,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<NewSession>, SessionError> {
        let session = self.session_of(login);
        let last_revocation = self.add_to_index(token, &session, None).await?;
        let record_ttl = self.policy.initial_record_ttl();
        let session = match self.repository.insert(token, &session, record_ttl).await {
            Ok(InsertOutcome::Inserted) => session,
            Ok(InsertOutcome::TokenTaken) => match self.load_live(token).await? {
                Some((stored, _)) => stored,
                None => return Err(not_found(token)),
            },
            Ok(InsertOutcome::PartitionUnavailable) => {
                self.remove_from_index(token, &session);
                return Ok(None);
            }
            Err(error) => {
                self.remove_from_index(token, &session);
                return Err(error.into());
            }
        };
        let created = self.complete_creation(token.clone(), session, last_revocation, is_wanted);
        created.await.map(Some)
    }

    /// Stores the result of a successful operation. If the result cannot be stored, a repetition
    /// after the lease finds the session under the same token.
    async fn complete(
        &self,
        request: &IdempotentRequest,
        new: NewSession,
        is_replay: bool,
    ) -> IdempotentSession {
        let session = IdempotentSession {
            is_replay,
            ..new.into()
        };
        let record = IdempotencyRecord {
            fingerprint: request.fingerprint,
            token: session.token.clone(),
            state: IdempotencyState::Done(session.result),
        };
        let store = self.repository.idempotency();
        log_failure(store.replace(&request.key, &record).await);
        session
    }

    /// Ends a failed operation, and returns `error`. If the outcome is unknown, a repetition may
    /// continue at once with the same token. Otherwise nothing was changed, and a repetition begins
    /// again.
    async fn give_up(
        &self,
        request: &IdempotentRequest,
        token: SessionToken,
        error: SessionError,
    ) -> SessionError {
        let store = self.repository.idempotency();
        log_failure(match &error {
            SessionError::Repository(cause) if cause.is_outage() => {
                let record = self.running(request, token, Duration::ZERO);
                store.replace(&request.key, &record).await
            }
            _ => store.forget(&request.key).await,
        });
        error
    }

    fn running(
        &self,
        request: &IdempotentRequest,
        token: SessionToken,
        lease: Duration,
    ) -> IdempotencyRecord {
        let until = self.repository.now().saturating_add(to_signed(lease));
        IdempotencyRecord {
            fingerprint: request.fingerprint,
            token,
            state: IdempotencyState::Running { until },
        }
    }
}

fn log_failure(result: Result<(), RepositoryError>) {
    if let Err(error) = result {
        tracing::debug!(
            error = %ErrorChain(&error),
            "Idempotency record could not be updated; a repetition waits for the end of the lease"
        );
    }
}
