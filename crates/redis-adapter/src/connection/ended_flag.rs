//! A flag that marks the end of a connection. Tasks can wait until the flag is set.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Flag that is set once, when the task that drives a client has ended.
///
/// The flag is needed because the client library fred accepts commands even after that task has
/// ended, and never replies to such commands.
#[derive(Debug, Default)]
pub(super) struct Ended {
    is_set: AtomicBool,
    set: Notify,
}

impl Ended {
    pub(super) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        self.set.notify_waiters();
    }

    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Waits until the flag is set. Returns at once if the flag is already set.
    pub(super) async fn wait(&self) {
        let set = self.set.notified();
        // `notify_waiters` wakes every `Notified` future that was created before the call. The
        // future `set` is created before the flag is checked, so no notification is missed.
        if !self.is_set() {
            set.await;
        }
    }
}
