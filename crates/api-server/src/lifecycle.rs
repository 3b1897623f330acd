//! What the requests and the stop of the process know of each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep};

/// No request for so long means that those on their way have arrived.
const QUIET_FOR: Duration = Duration::from_millis(50);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Shared by all workers and the stop.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    in_flight: AtomicUsize,
    connections: AtomicUsize,
    workers_in_store: AtomicUsize,
    closing_connections: AtomicBool,
    leave_store: watch::Sender<bool>,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            workers_in_store: AtomicUsize::new(0),
            closing_connections: AtomicBool::new(false),
            leave_store: watch::Sender::new(false),
        }
    }

    /// Counts a request until the value is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> Counted {
        Counted::new(self, |lifecycle| &lifecycle.in_flight)
    }

    /// How many requests are counted now.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a connection until the value is dropped.
    pub(crate) fn connection(self: &Arc<Self>) -> Counted {
        Counted::new(self, |lifecycle| &lifecycle.connections)
    }

    /// How many connections are counted now.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Whether answers should end their connections.
    pub(crate) fn is_closing_connections(&self) -> bool {
        self.closing_connections.load(Ordering::Relaxed)
    }

    pub(crate) fn close_connections(&self) {
        self.closing_connections.store(true, Ordering::Relaxed);
    }

    /// Ends when no request has been in flight for a moment.
    pub(crate) async fn quiet(&self) {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET_FOR {
            if self.in_flight.load(Ordering::Relaxed) > 0 {
                quiet_since = Instant::now();
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Counts a worker that uses the store until the value is dropped.
    pub(crate) fn worker_in_store(self: &Arc<Self>) -> Counted {
        Counted::new(self, |lifecycle| &lifecycle.workers_in_store)
    }

    /// On a worker: waits for [`leave_store`](Self::leave_store).
    pub(crate) async fn store_to_be_left(&self) {
        let _ = self.leave_store.subscribe().wait_for(|leave| *leave).await;
    }

    /// Asks the workers to take leave of the store, and waits until all have.
    pub(crate) async fn leave_store(&self) {
        self.leave_store.send_replace(true);
        while self.workers_in_store.load(Ordering::Relaxed) > 0 {
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// One that is counted for as long as it lives, whichever way it ends.
#[derive(Debug)]
pub(crate) struct Counted {
    lifecycle: Arc<Lifecycle>,
    counter: fn(&Lifecycle) -> &AtomicUsize,
}

impl Counted {
    fn new(lifecycle: &Arc<Lifecycle>, counter: fn(&Lifecycle) -> &AtomicUsize) -> Self {
        counter(lifecycle).fetch_add(1, Ordering::Relaxed);
        Self {
            lifecycle: Arc::clone(lifecycle),
            counter,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.counter)(&self.lifecycle).fetch_sub(1, Ordering::Relaxed);
    }
}
