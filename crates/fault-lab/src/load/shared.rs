//! State that all test clients share.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Client;
use tee_session_test_support::{Contradiction, History};
use tokio::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::sleep,
};

use super::{habits::Habits, routes::Routes, time_limits::RESPONSE_TIMEOUT};
use crate::{machine_delay::MachineDelay, tally::Tally};

/// Prefix of the `SESSIONID` cookie value in every session of the test clients. If a log contains
/// this prefix, a cookie was logged.
pub(crate) const COOKIE: &str = "c00kie-";

/// State that all test clients share.
pub(crate) struct Shared {
    pub(super) http: Client,
    pub(super) habits: Habits,
    pub(super) routes: Mutex<Routes>,
    pub(crate) history: History,
    tally: Mutex<Tally>,
    pub(super) machine_delay: MachineDelay,
    /// `true` while replies of Redis may be corrupted. During this time, a response that
    /// contradicts an earlier response does not count as a violated expectation.
    are_responses_unreliable: AtomicBool,
    /// Lock that pauses the clients. A client holds a read lock during each step, which consists of
    /// one or more requests. A write lock waits for the current steps, and prevents further steps.
    steps: RwLock<()>,
    /// `true` when the clients must stop.
    pub(super) stop: AtomicBool,
}

impl Shared {
    /// Creates the state of clients that have sent no request yet.
    pub(super) fn new(habits: Habits, instances: Vec<String>) -> Self {
        let http = Client::builder().timeout(RESPONSE_TIMEOUT).build();
        Self {
            http: http.unwrap_or_default(),
            habits,
            routes: Mutex::new(Routes::to(instances)),
            history: History::default(),
            tally: Mutex::default(),
            machine_delay: MachineDelay::default(),
            are_responses_unreliable: AtomicBool::new(false),
            steps: RwLock::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// Returns the counts that the clients have collected, and resets the counts to zero.
    pub(crate) fn take_tally(&self) -> Tally {
        std::mem::take(&mut *self.tally())
    }

    /// Locks and returns the counts that the clients have collected since the last reset.
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// Begins (`true`) or ends (`false`) a period in which responses may be wrong. At the end of
    /// the period, the recorded history of all sessions is discarded, because the history may be
    /// based on wrong responses.
    pub(crate) async fn set_responses_unreliable(&self, is_unreliable: bool) {
        if is_unreliable {
            self.are_responses_unreliable.store(true, Ordering::Relaxed);
            return;
        }
        let _paused = self.pause().await;
        self.history.forget_everything();
        self.are_responses_unreliable
            .store(false, Ordering::Relaxed);
    }

    /// Pauses the clients, and waits until all requests in flight are complete. The clients
    /// continue when the returned guard is dropped.
    pub(crate) async fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.steps.write().await
    }

    /// Searches `log` for texts that must not be logged: tokens, cookies and panics. Returns a
    /// description of each kind of text that was found.
    pub(crate) fn leaks(&self, log: &str) -> Vec<&'static str> {
        let is_token_char = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let words: HashSet<&str> = log.split(|c| !is_token_char(c)).collect();
        let tokens = self.history.all();
        let mut tokens = tokens.iter().map(|(token, _)| token.as_str());
        let found = [
            (
                tokens.any(|token| words.contains(token)),
                "a token in the log",
            ),
            (log.contains(COOKIE), "a cookie in the log"),
            (log.contains("panicked"), "a panic in the log"),
        ];
        let found = found.into_iter().filter(|(is_found, _)| *is_found);
        found.map(|(_, what)| what).collect()
    }

    /// Waits until no request has failed for the duration `calm`. Returns the time from this call
    /// to the last failed request, or zero if no request has failed since this call.
    pub(crate) async fn until_calm(&self, calm: Duration) -> Duration {
        let began = Instant::now();
        loop {
            sleep(Duration::from_millis(20)).await;
            let last = self.tally().last_failure;
            if last.unwrap_or(began).max(began).elapsed() > calm {
                return last.map_or(Duration::ZERO, |last| last.saturating_duration_since(began));
            }
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits while the clients are paused. A client holds the returned guard until its step is
    /// complete.
    pub(super) async fn begin_step(&self) -> RwLockReadGuard<'_, ()> {
        self.steps.read().await
    }

    /// Counts a violated expectation if `result` is a [`Contradiction`] between a response and the
    /// recorded history of a session. Does nothing while responses may be wrong.
    pub(super) fn check(&self, result: Result<(), Contradiction>) {
        if let Err(contradiction) = result
            && !self.are_responses_unreliable.load(Ordering::Relaxed)
        {
            self.tally().add_violation(contradiction.to_string());
        }
    }
}

/// Locks `mutex`, even if the mutex is poisoned. The protected value is valid anyway, because no
/// code panics while it holds the lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
