//! Runs operations to completion, even if the client no longer waits for the response.
//!
//! Each operation runs in a task of its own. Otherwise, the operation would be cancelled between
//! two repository calls if the client disconnects or the store is slow. A cancelled logout would
//! not end the session. A cancelled login could leave a session that no client can use but that
//! counts towards the session limit of its subject. A cancelled rotation could invalidate the old
//! token before the client gets the new token.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use actix_web::{HttpRequest, rt, rt::task::JoinHandle, web::Data};
use tee_session_domain::{
    IdempotentSession, NewSession, RepositoryError, SessionError, SessionRepository,
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tracing::Instrument;

use crate::{
    request::deadline::Deadline,
    server::drain::{CountGuard, Lifecycle},
    settings::ApiSettings,
    store::sessions::Sessions,
};

/// Maximum time to answer a request that creates or rotates a session, as a multiple of
/// [`ApiSettings::call_timeout`]. Usually, such a request makes at most five repository calls, one
/// after the other. If the store is so slow that the remaining time is too short for a rotation,
/// the rotation does not begin.
const NEW_SESSION_CALLS: u32 = 5;

/// Number of steps from the move of the session to its new token until the end of a rotation. The
/// first step is the move, which invalidates the old token. The second step is a check of the
/// subject index. Each step may take [`ApiSettings::call_timeout`].
const STEPS_FROM_MOVE: u32 = 2;

/// Number of steps from the move until the end of a rotation in a partitioned store (a Redis
/// Cluster), which moves a session in two steps.
const STEPS_FROM_PARTITIONED_MOVE: u32 = 3;

/// The request that waits for the result of an operation. Through its `Requester`, an operation can
/// check if the client still waits and if enough time is left.
pub(crate) struct Requester<T = NewSession> {
    result: oneshot::Sender<Result<T, SessionError>>,
    respond_by: Instant,
    call_timeout: Duration,
}

impl<T> Requester<T> {
    /// Returns `true` if the client still waits for the response and enough time is left to end
    /// older sessions of the subject that exceed its session limit.
    pub(crate) fn has_time_to_evict(&self) -> bool {
        self.has_time_for(1)
    }

    /// Returns `true` if the client still waits for the response and enough time is left for the
    /// remaining steps of a rotation. `is_partitioned` is `true` if the store is partitioned.
    pub(crate) fn has_time_to_rotate(&self, is_partitioned: bool) -> bool {
        self.has_time_for(if is_partitioned {
            STEPS_FROM_PARTITIONED_MOVE
        } else {
            STEPS_FROM_MOVE
        })
    }

    /// Returns `true` if the client still waits for the response to a rotation with an
    /// `Idempotency-Key`, and the time for the response has not passed. The rotation need not
    /// complete within this time: if the client gets no result, it can repeat the request and gets
    /// the result then.
    pub(crate) fn is_waiting(&self) -> bool {
        self.has_time_for(0)
    }

    fn has_time_for(&self, steps: u32) -> bool {
        let end = Instant::now() + self.call_timeout * steps;
        !self.result.is_closed() && end <= self.respond_by
    }
}

/// Runs `operation`, which creates or rotates a session, to completion and returns its result.
/// Returns an error if there is no result within five times [`ApiSettings::call_timeout`] after the
/// request was received. A shutdown waits for the operation.
///
/// If the result cannot be delivered, the session is removed when the operation has ended. This is
/// the case if the client has disconnected or this time has passed.
pub(crate) async fn deliver<R: SessionRepository>(
    request: &HttpRequest,
    sessions: &Sessions<R>,
    settings: &ApiSettings,
    operation: impl AsyncFnOnce(&Sessions<R>, &Requester) -> Result<NewSession, SessionError> + 'static,
) -> Result<NewSession, SessionError> {
    let discard = async |sessions: &Sessions<R>, new: &NewSession| {
        sessions.discard_undelivered(new).await;
    };
    run(request, sessions, settings, operation, discard).await
}

/// Runs `operation` like [`deliver`], but keeps the session if the result cannot be delivered. The
/// client can repeat the request, because it has an `Idempotency-Key`.
pub(crate) async fn deliver_or_keep<R: SessionRepository>(
    request: &HttpRequest,
    sessions: &Sessions<R>,
    settings: &ApiSettings,
    operation: impl AsyncFnOnce(
        &Sessions<R>,
        &Requester<IdempotentSession>,
    ) -> Result<IdempotentSession, SessionError>
    + 'static,
) -> Result<IdempotentSession, SessionError> {
    let keep = async |_: &Sessions<R>, _: &IdempotentSession| {};
    run(request, sessions, settings, operation, keep).await
}

async fn run<R: SessionRepository, T: Clone + 'static>(
    request: &HttpRequest,
    sessions: &Sessions<R>,
    settings: &ApiSettings,
    operation: impl AsyncFnOnce(&Sessions<R>, &Requester<T>) -> Result<T, SessionError> + 'static,
    undelivered: impl AsyncFnOnce(&Sessions<R>, &T) + 'static,
) -> Result<T, SessionError> {
    let call_timeout = settings.call_timeout;
    let received_at = Deadline::of(request).map(|deadline| deadline - settings.answer_timeout);
    let respond_by = received_at.unwrap_or_else(Instant::now) + call_timeout * NEW_SESSION_CALLS;
    let (result, received) = oneshot::channel();
    let (acknowledge, acknowledged) = oneshot::channel();
    let requester = Requester {
        result,
        respond_by,
        call_timeout,
    };
    let sessions = sessions.clone();
    let running = Running::start(request, async move {
        let result = operation(&sessions, &requester).await;
        match result {
            Ok(new) => {
                let copy = new.clone();
                let is_sent = requester.result.send(Ok(new)).is_ok();
                if !is_sent || acknowledged.await.is_err() {
                    undelivered(&sessions, &copy).await;
                }
            }
            Err(error) => drop(requester.result.send(Err(error))),
        }
    });
    let result = running.result(received, Some(respond_by)).await;
    if result.is_ok() {
        let _ = acknowledge.send(());
    }
    result
}

/// Runs `operation`, which ends sessions, to completion and returns its result. If there is no
/// result at the time `respond_by`, returns an error while the operation continues. If `respond_by`
/// is `None`, there is no time limit. A shutdown waits for the operation.
pub(crate) async fn finish<T: 'static>(
    request: &HttpRequest,
    respond_by: Option<Instant>,
    operation: impl Future<Output = Result<T, SessionError>> + 'static,
) -> Result<T, SessionError> {
    let (result, received) = oneshot::channel();
    let running = Running::start(request, async move {
        let _ = result.send(operation.await);
    });
    running.result(received, respond_by).await
}

/// An operation that runs in a separate task, and the request that waits for it.
struct Running {
    task: JoinHandle<()>,
    _waiting: Option<CountGuard>,
}

impl Running {
    /// Starts `operation` in a separate task, within the tracing span of the request.
    fn start(request: &HttpRequest, operation: impl Future<Output = ()> + 'static) -> Self {
        let lifecycle = request.app_data::<Data<Arc<Lifecycle>>>();
        let counted = lifecycle.map(|lifecycle| lifecycle.operation());
        let operation = async move {
            let _counted = counted;
            operation.await;
        };
        Self {
            task: rt::spawn(operation.in_current_span()),
            _waiting: lifecycle.map(|lifecycle| lifecycle.awaiting_operation()),
        }
    }

    /// Waits for the result of the operation until `respond_by` at the latest. If the operation
    /// panics, this method panics too, so that the response is the same as after a panic in a
    /// handler.
    async fn result<T>(
        self,
        received: oneshot::Receiver<Result<T, SessionError>>,
        respond_by: Option<Instant>,
    ) -> Result<T, SessionError> {
        let result = match respond_by {
            Some(at) => timeout_at(at, received)
                .await
                .map_err(|_| Deadline::exceeded())?,
            None => received.await,
        };
        match result {
            Ok(result) => result,
            Err(_) => match self.task.await {
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                _ => Err(RepositoryError::unavailable("the operation was cancelled").into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rotation_in_a_partitioned_store_needs_time_for_three_steps_instead_of_two() {
        let call_timeout = Duration::from_millis(500);
        let (result, received) = oneshot::channel();
        let requester: Requester = Requester {
            result,
            respond_by: Instant::now() + call_timeout * 5 / 2,
            call_timeout,
        };
        assert!(requester.has_time_to_rotate(false));
        assert!(!requester.has_time_to_rotate(true));
        drop(received);
        assert!(!requester.has_time_to_rotate(false));
    }
}
