//! The place of one open connection within the connection limits.

use std::{
    future::poll_fn,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;

use super::{
    activity::Activity,
    open_connections::{Entry, Kind, Open, OpenConnections},
};

/// Guard that counts one open connection towards the connection limits. Dropping the guard frees
/// the place for another connection.
#[derive(Debug)]
pub(crate) struct Place {
    all: Arc<OpenConnections>,
    id: u64,
    is_reserved: bool,
    activity: Arc<Activity>,
}

impl Place {
    /// Counts a connection from `address` as a connection of the kind `kind`. `open` is the locked
    /// content of `all`. If `address` is `None`, the limit per address does not apply.
    pub(super) fn take(
        all: &Arc<OpenConnections>,
        open: &mut Open,
        kind: Kind,
        address: Option<IpAddr>,
    ) -> Self {
        let activity = Arc::new(Activity::idle(all.nanos(Instant::now())));
        let id = open.insert(Entry {
            kind,
            address,
            activity: Arc::clone(&activity),
        });
        Self {
            all: Arc::clone(all),
            id,
            is_reserved: kind == Kind::Reserved,
            activity,
        }
    }

    /// Returns `true` if the connection may be used for health probes only.
    pub(crate) fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// Records that a request is being handled. The connection is then not closed.
    pub(crate) fn set_busy(&self) {
        self.activity.set_busy();
    }

    /// Records that the connection has been idle since `since`.
    pub(crate) fn set_idle(&self, since: Instant) {
        self.activity.set_idle(self.all.nanos(since));
    }

    /// Records whether the connection waits for the client to read more of a response.
    pub(crate) fn set_write_blocked(&self, is_blocked: bool) {
        self.activity.set_write_blocked(is_blocked);
    }

    /// Wakes the task that called [`poll_closing`](Self::poll_closing) last.
    pub(crate) fn wake(&self) {
        self.activity.wake();
    }

    /// Returns `true` if the connection must close to make room for another connection.
    pub(crate) fn is_closing(&self) -> bool {
        self.activity.is_closing()
    }

    /// Waits until the connection must close to make room for another connection.
    pub(crate) async fn closing(&self) {
        poll_fn(|cx| self.poll_closing(cx)).await;
    }

    /// Returns `Ready` if the connection must close. Otherwise returns `Pending`, and arranges that
    /// the task is woken when the connection must close.
    pub(crate) fn poll_closing(&self, cx: &Context<'_>) -> Poll<()> {
        self.activity.register(cx);
        if self.is_closing() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.lock().remove(self.id);
    }
}
