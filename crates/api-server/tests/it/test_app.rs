//! An application of a test's own, and what tests do with it.

use std::{
    net::SocketAddr,
    thread::{self, JoinHandle},
    time::Duration,
};

use actix_web::rt::System;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tee_session_api_server::{ApiSettings, Application, ServiceClients, StoreKind};
use tee_session_domain::{SessionPolicy, SessionRepository};
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

const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(5);

/// The stores that every behaviour is tested on.
#[derive(Clone, Copy)]
pub(crate) enum Store {
    Memory,
    Redis,
}

/// A running application on a free port, and a client for it.
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

    pub(crate) fn with(mut self, change: impl FnOnce(&mut ApiSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// On a store of its own; waits until it is ready.
    pub(crate) async fn spawn(self, store: Store) -> TestApp {
        let app = self.start(store).await;
        app.until_ready().await;
        app
    }

    /// On a store of its own, without waiting until it is ready.
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
        self.spawn_on(memory)
    }

    /// On a repository of the test's, which all workers share, without waiting for it.
    pub(crate) fn spawn_on<R: SessionRepository + Clone>(self, repository: R) -> TestApp {
        let settings = self.settings;
        TestApp::run(move || Application::build(settings, move || repository.clone()))
    }

    /// On a Redis of the test's, without waiting for it.
    pub(crate) fn spawn_on_redis(self, url: &str) -> TestApp {
        let redis = RedisSettings::new(url).unwrap();
        let settings = ApiSettings {
            store: StoreKind::Redis,
            ..self.settings
        };
        TestApp::run(move || Application::build(settings, move || RedisRepository::connect(&redis)))
    }
}

impl TestApp {
    pub(crate) fn builder() -> Builder {
        let settings = ApiSettings {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 2,
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

    /// Logs in, and gives the token.
    pub(crate) async fn log_in(&self) -> String {
        let response = self.post_session(&valid_body()).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        let body: Value = response.json().await.unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn get_session(&self, token: &str) -> Response {
        self.request(Method::GET, "/v1/session")
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
    }

    /// A change of a session, yet to be sent.
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

    /// Sends bytes as they are, and gives what came back until the connection was closed, or
    /// nothing more came for `within`. The first byte may take longer.
    pub(crate) async fn send_raw(&self, bytes: &[u8], within: Duration) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let mut chunk = [0; 4_096];
        let mut patience = within.max(FIRST_BYTE_WITHIN);
        while let Ok(Ok(length @ 1..)) = timeout(patience, stream.read(&mut chunk)).await {
            answer.extend_from_slice(&chunk[..length]);
            patience = within;
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Asks it to stop, as a signal would.
    pub(crate) fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(mut self) {
        self.ask_to_stop();
        let server = self.server.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || server.join().unwrap());
        ended.await.unwrap().unwrap();
    }
}

pub(crate) fn valid_body() -> Value {
    json!({
        "cookies": {"SESSIONID": "a1b2c3", "lang": "grün; ⛳"},
        "base_url": "https://golf.example/members",
    })
}

/// The time of a member. As texts, times do not compare: RFC 3339 drops zeros at the end.
pub(crate) fn time_of(member: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(member.as_str().unwrap(), &Rfc3339).unwrap()
}

/// The tag of the state that an answer tells of.
pub(crate) fn etag(response: &Response) -> String {
    response.headers()["etag"].to_str().unwrap().to_owned()
}

/// Checks that a response is problem details of this status and code, and gives the body.
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
