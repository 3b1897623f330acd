//! Clients that log in, ask, change and log out all the time, and check every answer.

mod client;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tee_session_test_support::{Contradiction, History};
use tokio::{task::JoinSet, time::sleep};

use crate::tally::Tally;

/// Twice the time of a command, `redis_command_timeout_ms`, of whose default the services are.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// What measuring adds: the clients share the machine's cores with what they measure.
const TOLERANCE: Duration = Duration::from_millis(200);

/// A client gives up on an answer after so long.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10);

/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(10);

/// How clients behave.
pub(crate) struct Habits {
    /// Between two requests of one client.
    pub(crate) pause: Duration,
    /// Between two requests of the check of all sessions.
    pub(crate) check_pause: Duration,
    /// Id and secret of the service client that they log in as, where one is needed.
    pub(crate) credentials: Option<(String, String)>,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            pause: PAUSE,
            check_pause: Duration::ZERO,
            credentials: None,
        }
    }
}

/// Clients at work, until it is dropped or stopped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

pub(crate) struct Shared {
    http: Client,
    habits: Habits,
    /// The instances that may be asked.
    instances: Mutex<Vec<String>>,
    pub(crate) history: History,
    tally: Mutex<Tally>,
    /// Whether answers may be false, so that they contradict nothing.
    may_lie: AtomicBool,
    /// Whether the clients rest.
    rest: AtomicBool,
    stop: AtomicBool,
}

/// How every cookie begins.
pub(crate) const COOKIE: &str = "c00kie-";

impl Load {
    /// Starts so many clients of these instances.
    pub(crate) fn start(clients: usize, instances: Vec<String>) -> Self {
        Self::start_with(Habits::default(), clients, instances)
    }

    /// The same with clients that behave otherwise.
    pub(crate) fn start_with(habits: Habits, clients: usize, instances: Vec<String>) -> Self {
        let http = Client::builder().timeout(GIVEN_UP_AFTER).build();
        let shared = Arc::new(Shared {
            http: http.unwrap_or_default(),
            habits,
            instances: Mutex::new(instances),
            history: History::default(),
            tally: Mutex::default(),
            may_lie: AtomicBool::new(false),
            rest: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            let shared = Arc::clone(&shared);
            tasks.spawn(async move { client::work(&shared, number).await });
        }
        Self {
            shared,
            clients: tasks,
        }
    }

    /// What the clients share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Lets every client end the request that it is at.
    pub(crate) async fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            if client.is_err() {
                self.shared.tally().violated("a client of the lab broke");
            }
        }
    }
}

impl Shared {
    /// From now on these instances are asked.
    pub(crate) fn ask_only(&self, instances: Vec<String>) {
        *lock(&self.instances) = instances;
    }

    /// Logs in; the token, if there is one.
    pub(crate) async fn log_in(&self) -> Option<String> {
        client::create(self, None).await.map(|own| own.token)
    }

    /// The counts since the last time.
    pub(crate) fn take_tally(&self) -> Tally {
        std::mem::take(&mut *self.tally())
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// Whether answers may be false from now on. Then nothing is known any more, nor is it when they
    /// are true again.
    pub(crate) async fn answers_may_lie(&self, may_lie: bool) {
        if may_lie {
            self.may_lie.store(true, Ordering::Relaxed);
            return;
        }
        // What was asked before has been answered then.
        sleep(ANSWERED_WITHIN).await;
        self.history.nothing_is_known();
        self.may_lie.store(false, Ordering::Relaxed);
    }

    /// Asks for every session that there ever was, while the clients rest.
    pub(crate) async fn check_all_at_rest(&self) {
        self.rest.store(true, Ordering::Relaxed);
        // What was asked before has been answered then.
        sleep(ANSWERED_WITHIN).await;
        self.check_all().await;
        self.rest.store(false, Ordering::Relaxed);
    }

    /// Asks for every session that there ever was, when all is well again.
    pub(crate) async fn check_all(&self) {
        for (token, known) in self.history.all() {
            let request = self.request(Method::GET, "/v1/session").bearer_auth(&token);
            match self.send(request, StatusCode::OK).await {
                Some((StatusCode::OK, _)) => self.check(self.history.read(&token, known, true)),
                Some((StatusCode::UNAUTHORIZED, _)) => {
                    self.check(self.history.read(&token, known, false));
                }
                _ => {}
            }
            if !self.habits.check_pause.is_zero() {
                sleep(self.habits.check_pause).await;
            }
        }
    }

    /// Returns the kinds of text that a log holds and must not: tokens, cookies, panics.
    pub(crate) fn leaks(&self, log: &str) -> Vec<&'static str> {
        let is_of_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let words: HashSet<&str> = log.split(|c| !is_of_token(c)).collect();
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
        let found = found.into_iter().filter(|(is_there, _)| *is_there);
        found.map(|(_, what)| what).collect()
    }

    /// Waits until nothing has failed for so long; when the last failure was, from now on.
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

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn rests(&self) -> bool {
        self.rest.load(Ordering::Relaxed)
    }

    fn check(&self, answer: Result<(), Contradiction>) {
        if let Err(contradiction) = answer
            && !self.may_lie.load(Ordering::Relaxed)
        {
            self.tally().violated(contradiction.to_string());
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let instances = lock(&self.instances);
        let base = &instances[fastrand::usize(..instances.len())];
        self.http.request(method, format!("{base}{path}"))
    }

    /// A request of the service client.
    fn request_of_service(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.request(method, path);
        match &self.habits.credentials {
            Some((id, secret)) => request.basic_auth(id, Some(secret)),
            None => request,
        }
    }

    /// Sends a request, counts its answer, and holds it against what every answer must be.
    async fn send(
        &self,
        request: RequestBuilder,
        hoped: StatusCode,
    ) -> Option<(StatusCode, Value)> {
        let asked = Instant::now();
        let answer = async {
            let response = request.send().await?;
            let (status, is_sound) = (response.status(), is_sound(&response));
            // An answer without a body, or with one that is none of ours, has no members.
            let body = response.bytes().await?;
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            Ok::<_, reqwest::Error>((status, is_sound, body))
        };
        let answer = answer.await;
        let took = asked.elapsed();
        let mut tally = self.tally();
        if took > ANSWERED_WITHIN + TOLERANCE {
            tally.violated("answered late");
        }
        let Ok((status, is_sound, body)) = answer else {
            tally.answered("none", false, took);
            tally.violated("a request without an answer");
            return None;
        };
        let code = body["code"].as_str().unwrap_or_default();
        let name = format!("{} {code}", status.as_str());
        let is_gone = status == StatusCode::UNAUTHORIZED && hoped != StatusCode::CREATED;
        let is_served = status == hoped || is_gone;
        tally.answered(name.trim_end(), is_served, took);
        let is_expected = is_served || status == StatusCode::SERVICE_UNAVAILABLE;
        if !is_expected {
            tally.violated(format!("status {status}"));
        }
        if !is_sound {
            tally.violated(format!("a {} that lacks a header", status.as_str()));
        }
        Some((status, body))
    }
}

/// The headers that come with a status.
fn is_sound(response: &Response) -> bool {
    let headers = response.headers();
    let has = |name| headers.contains_key(name);
    let is_problem = || {
        let content_type = headers.get("content-type");
        content_type.is_some_and(|value| value == "application/problem+json")
    };
    match response.status() {
        StatusCode::SERVICE_UNAVAILABLE => {
            let is_stored = headers
                .get("cache-control")
                .is_none_or(|value| value != "no-store");
            is_problem() && has("retry-after") && !has("www-authenticate") && !is_stored
        }
        StatusCode::UNAUTHORIZED => is_problem() && has("www-authenticate"),
        _ => true,
    }
}

/// Nothing panics while one of these is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
