//! Counters for the shutdown: requests in flight, operations that continue after their request has
//! ended, open connections, and workers that use the store. A shutdown waits until no request is in
//! flight, no operation runs, and no worker uses the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep};

/// Time without requests in flight after which the shutdown assumes that no further request will
/// arrive.
const QUIET_FOR: Duration = Duration::from_millis(50);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Counters and flags that the worker threads share with the code that shuts the application down.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    in_flight: AtomicUsize,
    awaiting_bodies: AtomicUsize,
    operations: AtomicUsize,
    awaiting_operations: AtomicUsize,
    gateway_requests: AtomicUsize,
    exchanges: AtomicUsize,
    connections: AtomicUsize,
    workers_using_store: AtomicUsize,
    closing_connections: AtomicBool,
    close_store: watch::Sender<bool>,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            awaiting_bodies: AtomicUsize::new(0),
            operations: AtomicUsize::new(0),
            awaiting_operations: AtomicUsize::new(0),
            gateway_requests: AtomicUsize::new(0),
            exchanges: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            workers_using_store: AtomicUsize::new(0),
            closing_connections: AtomicBool::new(false),
            close_store: watch::Sender::new(false),
        }
    }

    /// Counts a request as in flight until the returned guard is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> CountGuard {
        CountGuard::new(self, |lifecycle| &lifecycle.in_flight)
    }

    /// Counts a request as waiting for its body until the returned guard is dropped.
    pub(crate) fn awaiting_body(self: &Arc<Self>) -> CountGuard {
        CountGuard::new(self, |lifecycle| &lifecycle.awaiting_bodies)
    }

    /// Returns the number of requests in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one request as waiting for an operation that runs in a separate task. The request is
    /// counted until the returned guard is dropped.
    pub(crate) fn awaiting_operation(self: &Arc<Self>) -> CountGuard {
        CountGuard::new(self, |lifecycle| &lifecycle.awaiting_operations)
    }

    /// Returns the number of requests that the service itself handles: requests in flight without
    /// those that wait for their body or are sent to a site, plus operations that continue after
    /// their request has ended.
    pub(crate) fn being_served(&self) -> usize {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let orphans = count(&self.operations).saturating_sub(count(&self.awaiting_operations));
        let in_flight = count(&self.in_flight).saturating_sub(count(&self.awaiting_bodies));
        in_flight.saturating_sub(count(&self.gateway_requests)) + orphans
    }

    /// Counts a request in flight as a request to a site, until the returned guard is dropped.
    /// Requests to sites have a separate limit, so that a slow site does not use up the limit on
    /// all other requests.
    pub(crate) fn gateway_request(self: &Arc<Self>) -> CountGuard {
        CountGuard::new(self, |lifecycle| &lifecycle.gateway_requests)
    }

    /// Counts an exchange with a site until the returned guard is dropped. An exchange ends when
    /// the body of the site's answer was passed on and the cookies of the answer were stored. The
    /// client's request can end earlier.
    pub(crate) fn exchange(self: &Arc<Self>) -> CountGuard {
        CountGuard::new(self, |lifecycle| &lifecycle.exchanges)
    }

    /// Counts an operation as running until the returned guard is dropped. The operation runs in a
    /// separate task, so it can continue after its request has ended.
    pub(crate) fn operation(self: &Arc<Self>) -> CountGuard {
        CountGuard::new(self, |lifecycle| &lifecycle.operations)
    }

    /// Counts a connection as open until the returned guard is dropped.
    pub(crate) fn connection(self: &Arc<Self>) -> CountGuard {
        CountGuard::new(self, |lifecycle| &lifecycle.connections)
    }

    /// Returns the number of open connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns `true` during shutdown, when every response must close its connection.
    pub(crate) fn is_closing_connections(&self) -> bool {
        self.closing_connections.load(Ordering::Relaxed)
    }

    pub(crate) fn close_connections(&self) {
        self.closing_connections.store(true, Ordering::Relaxed);
    }

    /// Waits until no request has been in flight, and no operation and no exchange has run, for
    /// [`QUIET_FOR`].
    pub(crate) async fn wait_until_quiet(&self) {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET_FOR {
            let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
            let open = [&self.in_flight, &self.operations, &self.exchanges];
            if open.into_iter().map(count).sum::<usize>() > 0 {
                quiet_since = Instant::now();
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Counts a worker as using the store until the returned guard is dropped.
    pub(crate) fn worker_using_store(self: &Arc<Self>) -> CountGuard {
        CountGuard::new(self, |lifecycle| &lifecycle.workers_using_store)
    }

    /// Waits until the shutdown calls [`close_store`](Self::close_store). Each worker awaits this
    /// method, and then closes its connections to the store.
    pub(crate) async fn store_close_requested(&self) {
        let mut requests = self.close_store.subscribe();
        let _ = requests.wait_for(|is_requested| *is_requested).await;
    }

    /// Requests every worker to close its connections to the store, and waits until every worker
    /// has closed them.
    pub(crate) async fn close_store(&self) {
        self.close_store.send_replace(true);
        while self.workers_using_store.load(Ordering::Relaxed) > 0 {
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// Guard that increments a counter of a [`Lifecycle`] when it is created, and decrements the same
/// counter when it is dropped.
#[derive(Debug)]
pub(crate) struct CountGuard {
    lifecycle: Arc<Lifecycle>,
    counter: fn(&Lifecycle) -> &AtomicUsize,
}

impl CountGuard {
    fn new(lifecycle: &Arc<Lifecycle>, counter: fn(&Lifecycle) -> &AtomicUsize) -> Self {
        counter(lifecycle).fetch_add(1, Ordering::Relaxed);
        Self {
            lifecycle: Arc::clone(lifecycle),
            counter,
        }
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        (self.counter)(&self.lifecycle).fetch_sub(1, Ordering::Relaxed);
    }
}
