//! Activity of one connection. The connection handles a request, or has been idle for some time.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;

/// If the client reads nothing of a response for this time, the connection counts as idle, although
/// the response is not complete.
pub(super) const BLOCKED_WRITE_IS_IDLE_AFTER: Duration = Duration::from_secs(1);

/// Value of [`Activity::idle_since`] while a request is being handled.
pub(super) const BUSY: u64 = u64::MAX;

/// State of a connection that its worker thread updates and other threads read.
#[derive(Debug)]
pub(super) struct Activity {
    /// Time since which the connection has been idle, in nanoseconds since the start of the
    /// listener, or [`BUSY`].
    idle_since: AtomicU64,
    is_write_blocked: AtomicBool,
    is_closing: AtomicBool,
    /// Task of the connection, which is woken when the connection must close.
    task: AtomicWaker,
}

impl Activity {
    /// Creates the state of a connection that is idle since `since`, in nanoseconds since the start
    /// of the listener.
    pub(super) fn idle(since: u64) -> Self {
        Self {
            idle_since: AtomicU64::new(since),
            is_write_blocked: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }
    }

    /// Returns the time since which the connection has been idle, in the unit of `now`. Returns
    /// `None` if the connection is not idle.
    pub(super) fn idle_since(&self, now: u64) -> Option<u64> {
        let since = self.idle_since.load(Ordering::Relaxed);
        let is_writing = self.is_write_blocked.load(Ordering::Relaxed)
            && u128::from(now.saturating_sub(since)) < BLOCKED_WRITE_IS_IDLE_AFTER.as_nanos();
        (since != BUSY && !is_writing).then_some(since)
    }

    /// Records that a request is being handled on the connection.
    pub(super) fn set_busy(&self) {
        self.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// Records that the connection has been idle since `since`, in nanoseconds since the start of
    /// the listener.
    pub(super) fn set_idle(&self, since: u64) {
        self.idle_since.store(since, Ordering::Relaxed);
    }

    /// Records whether the connection waits for the client to read more of a response.
    pub(super) fn set_write_blocked(&self, is_blocked: bool) {
        self.is_write_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Requests the connection to close.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Returns `true` if the connection was requested to close.
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Arranges that the task of `cx` is woken when the connection must close.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// Wakes the task that was registered last.
    pub(super) fn wake(&self) {
        self.task.wake();
    }
}
