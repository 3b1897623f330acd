//! The end of a connection, as its callers notice it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Set once, when nobody drives a client any more. fred itself goes on accepting commands then, and
/// answers none.
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

    /// Waits until it is set.
    pub(super) async fn wait(&self) {
        let set = self.set.notified();
        // `set` wakes every `Notified` that was made before it, so one made before this check misses
        // nothing.
        if !self.is_set() {
            set.await;
        }
    }
}
