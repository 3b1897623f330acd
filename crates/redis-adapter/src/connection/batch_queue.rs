//! Queues of look-ups that wait to be sent to Redis in a batch. A look-up loads the value of one
//! Redis key, and may renew the TTL of the key.

use std::sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool};

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use crate::{RedisFault, record::Key};

/// A value that a look-up found in Redis.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: Bytes,
    /// `false` if the look-up tried to renew the TTL of the key, but the key has no TTL. Otherwise
    /// `true`.
    pub(crate) has_expiry: bool,
}

pub(super) type Answer = Result<Option<Found>, RedisFault>;

/// The two queues of one client: one queue for look-ups that only read, and one queue for look-ups
/// that also renew the TTL.
#[derive(Default)]
pub(super) struct BatchQueues {
    read: BatchQueue,
    touch: BatchQueue,
}

/// A queue of look-ups that wait for the next batch.
#[derive(Default)]
pub(super) struct BatchQueue {
    state: Mutex<QueueState>,
    /// `true` if Redis has rejected the batch command (`MGET` or `EVAL`) on this connection,
    /// usually because of a missing permission. All look-ups are then sent without a batch.
    pub(super) is_refused: AtomicBool,
}

/// State of a batch queue, protected by a lock.
#[derive(Default)]
pub(super) struct QueueState {
    pub(super) waiting: Vec<Waiter>,
    /// TTL in seconds to which the waiting look-ups renew their records. Always `None` in the queue
    /// of look-ups that only read.
    pub(super) ttl: Option<i64>,
    pub(super) is_scheduled: bool,
    pub(super) in_flight: usize,
    /// `true` if the latest batch had several look-ups. In that case, a look-up always waits for
    /// the next turn of the event loop, so that further look-ups can join the batch. If `false`, a
    /// look-up is sent at once when no command is in flight.
    pub(super) is_busy: bool,
}

/// A look-up that waits to be sent in a batch.
pub(super) struct Waiter {
    pub(super) key: Key,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Answer>,
}

impl BatchQueues {
    pub(super) fn of(&self, ttl: Option<i64>) -> &BatchQueue {
        match ttl {
            Some(_) => &self.touch,
            None => &self.read,
        }
    }
}

impl BatchQueue {
    /// Locks the state of the queue. Ignores lock poisoning, because no code panics or awaits while
    /// the lock is held.
    pub(super) fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Guard for a command of a batch queue that is in flight. The queue counts the command as in
/// flight until the guard is dropped.
pub(super) struct InFlight<'a>(&'a BatchQueue);

impl<'a> InFlight<'a> {
    pub(super) fn of(queue: &'a BatchQueue, state: &mut QueueState) -> Self {
        state.in_flight += 1;
        Self(queue)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.state().in_flight -= 1;
    }
}
