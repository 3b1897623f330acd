//! Health checks of the session store by each worker. The health of the process is computed from
//! the results of all workers.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tee_session_domain::{ErrorChain, RepositoryError, SessionRepository};
use tokio::time::sleep;

/// Interval of the health checks of a worker while the store is available.
const INTERVAL_UP: Duration = Duration::from_millis(500);

/// Interval of the health checks of a worker while the store is unavailable. This interval is
/// shorter than [`INTERVAL_UP`], so that a recovery is noticed sooner.
const INTERVAL_DOWN: Duration = Duration::from_millis(100);

/// Maximum age of a worker's last observation of the store. If the observation is older, the worker
/// is assumed to hang, and the store counts as unavailable.
const MAX_OBSERVATION_AGE: Duration = Duration::from_secs(5);

/// Minimum interval between two log lines about an unavailable store.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Time after the start of the process during which a missing connection to the store is not
/// logged.
const CONNECT_GRACE: Duration = Duration::from_secs(1);

/// Time for which the store counts as misconfigured after it has refused a request because a
/// permission or a command is missing.
const MISCONFIGURED_FOR: Duration = Duration::from_secs(60);

/// Health of the process, computed from the observations of all workers. Reading the health does
/// not access the store.
#[derive(Debug)]
pub(crate) struct HealthMonitor {
    started: Instant,
    observations: Mutex<Vec<Weak<Observation>>>,
    was_store_up: AtomicBool,
    draining: AtomicBool,
    last_failure_logged: Mutex<Option<Instant>>,
    /// Time of the last request that the store refused because a permission or a command is
    /// missing.
    last_request_refused: Mutex<Option<Instant>>,
}

impl HealthMonitor {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            observations: Mutex::default(),
            was_store_up: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            last_failure_logged: Mutex::default(),
            last_request_refused: Mutex::default(),
        }
    }

    /// Registers a worker, and returns the `Observation` in which the worker must record the state
    /// of the store. The worker is unregistered when the `Observation` is dropped.
    pub(crate) fn register(&self) -> Arc<Observation> {
        let observation = Arc::new(Observation::default());
        let mut observations = lock(&self.observations);
        observations.retain(|other| other.strong_count() > 0);
        observations.push(Arc::downgrade(&observation));
        observation
    }

    /// Returns `true` if the last observation of every worker is recent and found the store
    /// available. Returns `false` if no worker is registered.
    pub(crate) fn is_store_up(&self) -> bool {
        let observations = lock(&self.observations);
        let mut live = observations.iter().filter_map(Weak::upgrade).peekable();
        live.peek().is_some() && live.all(|observation| observation.is_up())
    }

    /// Returns `true` if at least one worker found, at its last health check, that the store lacks
    /// a permission or a command that the service always needs.
    pub(crate) fn lacks_permissions(&self) -> bool {
        let observations = lock(&self.observations);
        let mut live = observations.iter().filter_map(Weak::upgrade);
        live.any(|observation| observation.lacks_permissions.load(Ordering::Relaxed))
    }

    /// Records that the store has refused a request because a permission or a command is missing.
    pub(crate) fn record_refused_request(&self) {
        *lock(&self.last_request_refused) = Some(Instant::now());
    }

    /// Returns `true` if the store lacks a permission or a command. Either at least one worker
    /// found this at its last health check, or the store refused a request for this reason within
    /// the last [`MISCONFIGURED_FOR`].
    pub(crate) fn is_misconfigured(&self) -> bool {
        let refused = *lock(&self.last_request_refused);
        refused.is_some_and(|at| at.elapsed() < MISCONFIGURED_FOR) || self.lacks_permissions()
    }

    /// Returns `true` if the store has been available to all workers at the same time, at least
    /// once since the start of the process.
    pub(crate) fn was_store_up(&self) -> bool {
        self.was_store_up.load(Ordering::Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Pings the store at intervals, and records each result in `observation`. Never completes.
    pub(crate) async fn observe(
        self: Arc<Self>,
        repository: &impl SessionRepository,
        observation: Arc<Observation>,
    ) {
        loop {
            let pinged = repository.ping().await;
            let interval = if pinged.is_ok() {
                INTERVAL_UP
            } else {
                INTERVAL_DOWN
            };
            observation.record(pinged.is_ok());
            if self.is_store_up() {
                self.was_store_up.store(true, Ordering::Relaxed);
            }
            let result = match pinged {
                Ok(()) => repository.check_permissions().await,
                failed => failed,
            };
            let lacks_permissions = matches!(result, Err(RepositoryError::Misconfigured { .. }));
            observation
                .lacks_permissions
                .store(lacks_permissions, Ordering::Relaxed);
            match result {
                Ok(()) => {
                    if self.is_store_up() {
                        *lock(&self.last_failure_logged) = None;
                    }
                }
                Err(error) => self.log_failure(&error),
            }
            sleep(interval).await;
        }
    }

    /// Logs a failed health check of any worker. In one outage, the first failure is logged, and
    /// then at most one failure per [`FAILURE_LOG_INTERVAL`]. During shutdown and during
    /// [`CONNECT_GRACE`], no failure is logged.
    fn log_failure(&self, error: &RepositoryError) {
        let is_connecting = !self.was_store_up() && self.started.elapsed() < CONNECT_GRACE;
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

/// Last observation of the store by one worker.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    /// Availability of the store, and the time of the observation. `None` before the first
    /// observation.
    availability: Mutex<Option<(bool, Instant)>>,
    /// `true` if the last health check found that a permission or a command is missing.
    lacks_permissions: AtomicBool,
}

impl Observation {
    /// Records whether the store is available. Not only health checks but also failed repository
    /// calls are recorded, so that an outage is noticed before the next health check.
    pub(crate) fn record(&self, is_up: bool) {
        *lock(&self.availability) = Some((is_up, Instant::now()));
    }

    fn is_up(&self) -> bool {
        let availability = *lock(&self.availability);
        availability.is_some_and(|(is_up, at)| is_up && at.elapsed() < MAX_OBSERVATION_AGE)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned mutex can still be used, because no code panics while it holds a mutex of this
    // module.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_is_up_only_if_it_is_available_to_every_worker() {
        let monitor = HealthMonitor::new();
        assert!(!monitor.is_store_up(), "there is no observation yet");
        let (one, other) = (monitor.register(), monitor.register());
        one.record(true);
        assert!(!monitor.is_store_up(), "one worker has no observation yet");
        other.record(true);
        assert!(monitor.is_store_up());
        other.record(false);
        assert!(!monitor.is_store_up());
    }

    #[test]
    fn store_is_misconfigured_for_a_minute_after_it_refused_a_request() {
        let monitor = HealthMonitor::new();
        assert!(!monitor.is_misconfigured());
        monitor.record_refused_request();
        assert!(monitor.is_misconfigured());
        assert!(!monitor.lacks_permissions(), "no health check was refused");
        *lock(&monitor.last_request_refused) = Instant::now().checked_sub(MISCONFIGURED_FOR);
        assert!(!monitor.is_misconfigured());
    }

    #[test]
    fn observation_of_an_ended_worker_is_ignored() {
        let monitor = HealthMonitor::new();
        let (one, other) = (monitor.register(), monitor.register());
        one.record(true);
        other.record(false);
        drop(other);
        assert!(monitor.is_store_up());
    }
}
