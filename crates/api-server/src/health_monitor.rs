//! What each worker last saw of the store, and what follows for `/health`.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tee_session_domain::{ErrorChain, RepositoryError, SessionRepository};
use tokio::time::sleep;

/// How often a worker asks a store that serves.
const INTERVAL_UP: Duration = Duration::from_millis(500);

/// How often it asks one that does not: recovery is seen sooner.
const INTERVAL_DOWN: Duration = Duration::from_millis(100);

/// What a worker saw counts for so long: one that sees nothing any more hangs.
const FRESH: Duration = Duration::from_secs(5);

/// While the store is away, that is logged so often.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// At the start the first connection gets this long before its absence is logged.
const CONNECT_GRACE: Duration = Duration::from_secs(1);

/// The health of the process: readable at any moment, without asking the store.
#[derive(Debug)]
pub(crate) struct HealthMonitor {
    started: Instant,
    observations: Mutex<Vec<Weak<Observation>>>,
    has_served: AtomicBool,
    draining: AtomicBool,
    last_failure_logged: Mutex<Option<Instant>>,
}

impl HealthMonitor {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            observations: Mutex::default(),
            has_served: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            last_failure_logged: Mutex::default(),
        }
    }

    /// A place for one worker's observations; it counts for as long as it is held.
    pub(crate) fn register(&self) -> Arc<Observation> {
        let observation = Arc::new(Observation(Mutex::new(None)));
        let mut observations = lock(&self.observations);
        observations.retain(|other| other.strong_count() > 0);
        observations.push(Arc::downgrade(&observation));
        observation
    }

    /// Whether every worker saw the store serve, lately.
    pub(crate) fn store_serves(&self) -> bool {
        let observations = lock(&self.observations);
        let mut live = observations.iter().filter_map(Weak::upgrade).peekable();
        live.peek().is_some() && live.all(|observation| observation.is_up())
    }

    /// Whether the store has ever served all workers.
    pub(crate) fn store_has_served(&self) -> bool {
        self.has_served.load(Ordering::Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Asks the store again and again, for as long as the worker lives.
    pub(crate) async fn observe(
        self: Arc<Self>,
        repository: &impl SessionRepository,
        observation: Arc<Observation>,
    ) {
        loop {
            let answer = repository.ping().await;
            observation.note(answer.is_ok());
            match answer {
                Ok(()) => {
                    self.note_success();
                    sleep(INTERVAL_UP).await;
                }
                Err(error) => {
                    self.log_failure(&error);
                    sleep(INTERVAL_DOWN).await;
                }
            }
        }
    }

    fn note_success(&self) {
        if self.store_serves() {
            self.has_served.store(true, Ordering::Relaxed);
            *lock(&self.last_failure_logged) = None;
        }
    }

    /// Logs the first failure of an outage, and then one now and then, for all workers together.
    fn log_failure(&self, error: &RepositoryError) {
        let is_connecting = !self.store_has_served() && self.started.elapsed() < CONNECT_GRACE;
        if self.is_draining() || is_connecting {
            return;
        }
        let mut last = lock(&self.last_failure_logged);
        if last.is_none_or(|last| last.elapsed() >= FAILURE_LOG_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!(error = %ErrorChain(error), "Redis health check failed");
        }
    }
}

/// What one worker last saw, and when; nothing yet at its start.
#[derive(Debug)]
pub(crate) struct Observation(Mutex<Option<(bool, Instant)>>);

impl Observation {
    /// Notes whether the store serves. Requests note their failures too, so that an outage is
    /// known before the next question.
    pub(crate) fn note(&self, up: bool) {
        *lock(&self.0) = Some((up, Instant::now()));
    }

    fn is_up(&self) -> bool {
        lock(&self.0).is_some_and(|(up, at)| up && at.elapsed() < FRESH)
    }
}

/// Nothing panics while one of these is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_serves_when_every_worker_saw_it_serve() {
        let monitor = HealthMonitor::new();
        assert!(!monitor.store_serves(), "nobody has looked yet");
        let (one, other) = (monitor.register(), monitor.register());
        one.note(true);
        assert!(!monitor.store_serves(), "one has not looked yet");
        other.note(true);
        assert!(monitor.store_serves());
        other.note(false);
        assert!(!monitor.store_serves());
    }

    #[test]
    fn a_worker_that_is_gone_does_not_count() {
        let monitor = HealthMonitor::new();
        let (one, other) = (monitor.register(), monitor.register());
        one.note(true);
        other.note(false);
        drop(other);
        assert!(monitor.store_serves());
    }
}
