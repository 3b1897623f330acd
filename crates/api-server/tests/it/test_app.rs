//! Application of the HTTP API for one test, and helpers that send requests to the application.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_web::rt::System;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tee_session_api_server::{
    ApiSettings, Application, InvalidTokenLimit, ServiceClients, StoreKind,
};
use tee_session_domain::{Either, SessionPolicy};
use tee_session_memory_adapter::MemoryRepository;
use tee_session_redis_adapter::{RedisRepository, RedisSettings};
use tee_session_test_support::{TestRedis, eventually};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};

use crate::hooked_repository::HookedRepository;

const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout of calls to the store in the tests that do not test timeouts. On a busy machine, a reply
/// may take longer than the default of 500 ms.
const LONG_CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout for a login with which a test begins.
const LOGGED_IN_WITHIN: Duration = Duration::from_secs(20);

/// Kind of session store: in memory (embedded) or Redis. The contract suite shows that both kinds
/// behave alike, so only a few tests run with both.
#[derive(Clone, Copy)]
pub(crate) enum Store {
    Memory,
    Redis,
}

/// Repository of all test applications. With one type for both kinds of stores, the application is
/// compiled only once.
pub(crate) type TestRepository = Either<HookedRepository, RedisRepository>;

/// A running application on a free port, and an HTTP client that sends requests to the application.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) metrics_address: Option<SocketAddr>,
    pub(crate) client: Client,
    pub(crate) scheme: &'static str,
    redis: Option<TestRedis>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<std::io::Result<()>>>,
}

pub(crate) struct Builder {
    settings: ApiSettings,
    memory: MemoryRepository,
}

impl Builder {
    pub(crate) fn policy(mut self, idle_timeout: u64, lifetime: Option<u64>) -> Self {
        let lifetime = lifetime.map(Duration::from_secs);
        self.settings.policy =
            SessionPolicy::new(Duration::from_secs(idle_timeout), lifetime).unwrap();
        self
    }

    pub(crate) fn service_clients(mut self, clients: ServiceClients) -> Self {
        self.settings.service_clients = clients;
        self
    }

    pub(crate) fn memory_capacity(mut self, capacity: usize) -> Self {
        self.memory = MemoryRepository::with_capacity(capacity);
        self
    }

    /// Sets the timeouts to the defaults of the service.
    pub(crate) fn default_timeouts(mut self) -> Self {
        let defaults = ApiSettings::default();
        self.settings.answer_timeout = defaults.answer_timeout;
        self.settings.call_timeout = defaults.call_timeout;
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut ApiSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Starts the application with a new, empty store, and waits until the application is ready.
    pub(crate) async fn spawn(self, store: Store) -> TestApp {
        let app = self.start(store).await;
        app.until_ready().await;
        app
    }

    /// Starts the application with a new, empty store. Does not wait until the application is
    /// ready.
    pub(crate) async fn start(self, store: Store) -> TestApp {
        match store {
            Store::Memory => self.spawn_on_memory(),
            Store::Redis => {
                let redis = TestRedis::start().await;
                let mut app = self.spawn_on_redis(redis.url());
                app.redis = Some(redis);
                app
            }
        }
    }

    fn spawn_on_memory(self) -> TestApp {
        let memory = self.memory.clone();
        self.spawn_on(HookedRepository::without_hook(memory))
    }

    /// Starts the application with `repository`, which all workers share. Does not wait until the
    /// application is ready.
    pub(crate) fn spawn_on(self, repository: HookedRepository) -> TestApp {
        let settings = self.settings;
        TestApp::run(move || {
            Application::build(settings, move || TestRepository::left(repository.clone()))
        })
    }

    /// Starts the application with the Redis server at `url`. The timeout of a Redis command is the
    /// setting `call_timeout`. Does not wait until the application is ready.
    pub(crate) fn spawn_on_redis(self, url: &str) -> TestApp {
        let command_timeout = self.settings.call_timeout;
        let redis = RedisSettings::new(url).unwrap();
        self.spawn_with_redis(redis.with_command_timeout(command_timeout))
    }

    /// Starts the application with the Redis settings `redis`. Does not wait until the application
    /// is ready.
    pub(crate) fn spawn_with_redis(self, redis: RedisSettings) -> TestApp {
        let settings = ApiSettings {
            store: StoreKind::Redis,
            allow_anonymous_clients: true,
            ..self.settings
        };
        TestApp::run(move || {
            Application::build(settings, move || {
                TestRepository::right(RedisRepository::connect(&redis))
            })
        })
    }
}

impl TestApp {
    pub(crate) fn builder() -> Builder {
        let settings = ApiSettings {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 2,
            answer_timeout: 2 * LONG_CALL_TIMEOUT,
            call_timeout: LONG_CALL_TIMEOUT,
            ..ApiSettings::default()
        };
        Builder {
            settings,
            memory: MemoryRepository::default(),
        }
    }

    pub(crate) async fn spawn(store: Store) -> Self {
        Self::builder().spawn(store).await
    }

    pub(crate) fn run(
        build: impl FnOnce() -> std::io::Result<Application> + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, addresses) = std::sync::mpsc::channel();
        let server = thread::spawn(move || {
            System::new().block_on(async move {
                let application = build()?;
                started
                    .send((application.address(), application.metrics_address()))
                    .unwrap();
                application.run(async { drop(stopped.await) }).await
            })
        });
        let (address, metrics_address) = addresses.recv().expect("the application was built");
        Self {
            address,
            metrics_address,
            client: Client::new(),
            scheme: "http",
            redis: None,
            stop: Some(stop),
            server: Some(server),
        }
    }

    pub(crate) async fn until_ready(&self) {
        eventually(Duration::from_secs(10), async || {
            self.get("/health/ready").await.status() == StatusCode::OK
        })
        .await;
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}://{}{path}", self.scheme, self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn post_session(&self, body: &Value) -> Response {
        self.request(Method::POST, "/v1/sessions")
            .json(body)
            .send()
            .await
            .unwrap()
    }

    /// Creates a session and returns its token.
    pub(crate) async fn log_in(&self) -> String {
        let mut token = None;
        eventually(LOGGED_IN_WITHIN, async || {
            let response = self.post_session(&build_valid_body()).await;
            let status = response.status();
            let body: Value = response.json().await.unwrap();
            // On a busy machine, the store may not reply in time.
            if body["code"] != "store_unavailable" {
                assert_eq!(status, StatusCode::CREATED, "{}", body["code"]);
                token = Some(body["access_token"].as_str().unwrap().to_owned());
            }
            token.is_some()
        })
        .await;
        token.unwrap()
    }

    pub(crate) async fn get_session(&self, token: &str) -> Response {
        self.request(Method::GET, "/v1/session")
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
    }

    /// Builds a `PATCH` request with the merge patch `patch` for the session of `token`. Does not
    /// send the request.
    pub(crate) fn patch(&self, token: &str, patch: &Value) -> RequestBuilder {
        self.request(Method::PATCH, "/v1/session")
            .bearer_auth(token)
            .header("content-type", "application/merge-patch+json")
            .body(patch.to_string())
    }

    pub(crate) async fn rotate(&self, token: &str) -> Response {
        self.request(Method::POST, "/v1/session/rotate")
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn get_ttl(&self, token: &str) -> Response {
        self.request(Method::GET, "/v1/session/ttl")
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn log_out(&self, token: &str) -> Response {
        self.request(Method::DELETE, "/v1/session")
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
    }

    /// Sends `bytes` unchanged on a new connection, and returns all bytes of the response.
    ///
    /// Reading ends when the server closes the connection, or when no byte arrives for
    /// `read_timeout`. The timeout for the first byte is at least [`FIRST_BYTE_TIMEOUT`].
    pub(crate) async fn send_raw(&self, bytes: &[u8], read_timeout: Duration) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may close the connection before it has read all bytes, so a write error is
        // ignored.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let mut chunk = [0; 4_096];
        let mut next_timeout = read_timeout.max(FIRST_BYTE_TIMEOUT);
        while let Ok(Ok(length @ 1..)) = timeout(next_timeout, stream.read(&mut chunk)).await {
            answer.extend_from_slice(&chunk[..length]);
            next_timeout = read_timeout;
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Triggers the shutdown of the application, as a termination signal would.
    pub(crate) fn trigger_shutdown(&mut self) {
        drop(self.stop.take());
    }

    /// Triggers the shutdown of the application, and waits until the application has stopped.
    pub(crate) async fn shut_down(mut self) {
        self.trigger_shutdown();
        let server = self.server.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || server.join().unwrap());
        ended.await.unwrap().unwrap();
    }
}

/// Limits each client address to one invalid token. Further invalid tokens get 429.
pub(crate) fn allow_one_invalid_token(settings: &mut ApiSettings) {
    settings.invalid_token_limit = Some(InvalidTokenLimit {
        burst: NonZeroU32::MIN,
        interval: Duration::from_secs(3_600),
    });
}

pub(crate) fn build_valid_body() -> Value {
    json!({
        "cookies": {"SESSIONID": "a1b2c3", "lang": "grün; ⛳"},
        "base_url": "https://golf.example/members",
    })
}

/// Parses the JSON member `member` as a time. Asserts that the time has six digits after the
/// decimal point.
pub(crate) fn parse_time(member: &Value) -> OffsetDateTime {
    let text = member.as_str().unwrap();
    assert_eq!(text.len(), "2026-01-15T10:30:00.123456Z".len(), "{text}");
    OffsetDateTime::parse(text, &Rfc3339).unwrap()
}

/// Returns the `ETag` header field of a response.
pub(crate) fn get_etag(response: &Response) -> String {
    response.headers()["etag"].to_str().unwrap().to_owned()
}

/// Asserts that a response contains problem details with the status `status` and the code `code`.
/// Returns the response body.
pub(crate) async fn assert_problem(response: Response, status: u16, code: &str) -> Value {
    let content_type = response.headers().get("content-type").cloned();
    let cache_control = response.headers().get("cache-control").cloned();
    let actual = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(actual, status, "{text}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(content_type.unwrap(), "application/problem+json");
    assert_eq!(cache_control.unwrap(), "no-store");
    assert_eq!(problem["type"], "about:blank");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["code"], code, "{text}");
    assert!(!problem["title"].as_str().unwrap().is_empty());
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    problem
}
