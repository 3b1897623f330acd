//! State that all test clients share, and the checks of every response.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;
use tee_session_test_support::{Contradiction, History};
use tokio::{
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::sleep,
};

use super::{
    habits::Habits,
    routes::Routes,
    time_limits::{ANSWERED_WITHIN, BUSY_MACHINE, CREATED_WITHIN, RESPONSE_TIMEOUT, TOLERANCE},
};
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

    /// Pauses the clients, reads every session that was ever created, and resumes the clients.
    pub(crate) async fn check_all_paused(&self) {
        let _paused = self.pause().await;
        self.check_all().await;
    }

    /// Pauses the clients, and waits until all requests in flight are complete. The clients
    /// continue when the returned guard is dropped.
    pub(crate) async fn pause(&self) -> RwLockWriteGuard<'_, ()> {
        self.steps.write().await
    }

    /// Reads every session that was ever created. Checks that each response agrees with the
    /// recorded history of the session. After a 503, reads the session again, at most twice. If no
    /// response shows whether the session exists, counts a violated expectation.
    pub(crate) async fn check_all(&self) {
        for (token, known) in self.history.all() {
            let mut status = None;
            for _ in 0..3 {
                let request = self.request(Method::GET, "/v1/session").bearer_auth(&token);
                let response = self.send(request, StatusCode::OK).await;
                status = response.map(|(status, _)| status);
                if status != Some(StatusCode::SERVICE_UNAVAILABLE) {
                    break;
                }
            }
            match status {
                Some(StatusCode::OK) => self.check(self.history.read(&token, known, true)),
                Some(StatusCode::UNAUTHORIZED) => {
                    self.check(self.history.read(&token, known, false));
                }
                _ => self.tally().add_violation("a session could not be checked"),
            }
            if !self.habits.check_pause.is_zero() {
                sleep(self.habits.check_pause).await;
            }
        }
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

    /// Sends a request and counts the response. `expected` is the status of a successful response.
    /// Checks the rules for every response: maximum duration, allowed status and required headers.
    /// Returns status and JSON body, or `None` if there was no response. If a killed instance sends
    /// no response, the request is not counted.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        expected: StatusCode,
    ) -> Option<(StatusCode, Value)> {
        let (client, request) = request.build_split();
        let url = request.as_ref().map(|request| request.url().clone()).ok();
        let is_merge = url
            .as_ref()
            .is_some_and(|url| url.path() == "/v1/session/cookies");
        let creates = request
            .as_ref()
            .is_ok_and(|request| request.method() == Method::POST && !is_merge);
        let has_key = request
            .as_ref()
            .is_ok_and(|request| request.headers().contains_key("idempotency-key"));
        let limit = if creates {
            CREATED_WITHIN
        } else {
            ANSWERED_WITHIN
        };
        let sent = Instant::now();
        let result = async {
            let response = client.execute(request?).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            // A body that is not JSON is read as `null`, which has no members.
            let body = response.bytes().await?;
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Ok::<_, reqwest::Error>((status, headers, body))
        };
        let result = result.await;
        let took = sent.elapsed();
        // The duration is not checked either: hyper sometimes does not notice that the connection
        // of a request has ended, so the client waits for its timeout
        // (https://github.com/hyperium/hyper/issues/4122).
        if result.is_err() && url.is_some_and(|url| self.is_killed(&url)) {
            return None;
        }
        let by_machine = self.machine_delay.since(sent);
        let by_service = took.saturating_sub(by_machine);
        let mut tally = self.tally();
        if by_service > limit + TOLERANCE {
            tally.add_timed_violation("a late response");
        }
        let Ok((status, headers, body)) = result else {
            tally.count_response("none", false, took, by_machine);
            tally.add_violation("a request without a response");
            return None;
        };
        let code = body["code"].as_str().unwrap_or_default();
        let name = format!("{} {code}", status.as_str());
        let is_gone = status == StatusCode::UNAUTHORIZED && expected != StatusCode::CREATED;
        // While another request with the same key is running, a repetition is answered with 409.
        let is_in_progress = has_key && code == "idempotency_in_progress";
        let is_served = status == expected || is_gone || is_in_progress;
        // On a busy machine, a Redis command may exceed its timeout although Redis and the service
        // are well.
        let is_machine_fault = code == "store_unavailable" && by_machine >= BUSY_MACHINE;
        let is_failure = !is_served && !is_machine_fault;
        tally.count_response(name.trim_end(), !is_failure, took, by_machine);
        if has_key {
            tally.keyed_requests += 1;
            if code == "store_unavailable" {
                tally.keyed_failures += 1;
            }
        }
        let is_allowed = is_served || status == StatusCode::SERVICE_UNAVAILABLE;
        if !is_allowed {
            tally.add_violation(format!("unexpected status {status}"));
        }
        if !has_required_headers(status, &headers, code) {
            tally.add_violation(format!("a {} without a required header", status.as_str()));
        }
        Some((status, body))
    }
}

/// Returns `true` if a response with the status 401 or 503 has all headers that this status and the
/// problem code `code` require. Returns `true` for every other status.
fn has_required_headers(status: StatusCode, headers: &HeaderMap, code: &str) -> bool {
    let has = |name| headers.contains_key(name);
    let is_problem = || {
        let content_type = headers.get("content-type");
        content_type.is_some_and(|value| value == "application/problem+json")
    };
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            let is_cacheable = headers
                .get("cache-control")
                .is_none_or(|value| value != "no-store");
            // A repetition does not help if an operator has to change the configuration of Redis.
            let is_retryable = code != "store_misconfigured";
            is_problem()
                && has("retry-after") == is_retryable
                && !has("www-authenticate")
                && !is_cacheable
        }
        StatusCode::UNAUTHORIZED => is_problem() && has("www-authenticate"),
        _ => true,
    }
}

/// Locks `mutex`, even if the mutex is poisoned. The protected value is valid anyway, because no
/// code panics while it holds the lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
