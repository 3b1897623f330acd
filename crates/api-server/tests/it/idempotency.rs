//! Tests of the `Idempotency-Key` header field, with which a client repeats a request whose
//! response was lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::{join, join_all};
use reqwest::{Method, Response, StatusCode, header::HeaderValue};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_api_server::{Scope, ServiceClient, ServiceClients};
use tee_session_domain::SessionToken;
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, eventually};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch, time::sleep};

use crate::{
    hooked_repository::HookedRepository,
    test_app::{
        Store, TestApp, allow_one_invalid_token, assert_problem, build_valid_body, get_etag,
    },
};

/// SHA-256 hash of the client secret `s3cret` in hexadecimal (`printf s3cret | sha256sum`).
const S3CRET: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

/// Timeout of one Redis command in tests that lose the connection to Redis. While the lease of the
/// first request lasts (ten such timeouts and four seconds), a repetition may get 409.
const CALL_TIMEOUT: Duration = Duration::from_millis(300);

const KEY: &str = "8e03978e-40d5-43dd-bc93-6894a57f9324";

fn clients() -> ServiceClients {
    let client = |id| ServiceClient::new(id, &[S3CRET], vec![Scope::Create]).unwrap();
    ServiceClients::new(vec![client("ci"), client("other")])
}

async fn start_app(store: Store) -> TestApp {
    TestApp::builder()
        .service_clients(clients())
        .spawn(store)
        .await
}

/// Starts two applications with the same Redis.
async fn start_two_apps(redis: &RedisProcess) -> [TestApp; 2] {
    let start = || {
        TestApp::builder()
            .service_clients(clients())
            .spawn_on_redis(&redis.url())
    };
    let apps = [start(), start()];
    for app in &apps {
        app.until_ready().await;
    }
    apps
}

async fn create(app: &TestApp, client: &str, key: &str, body: &Value) -> Response {
    app.request(Method::POST, "/v1/sessions")
        .basic_auth(client, Some("s3cret"))
        .header("Idempotency-Key", key)
        .json(body)
        .send()
        .await
        .unwrap()
}

async fn rotate(app: &TestApp, token: &str, key: &str) -> Response {
    app.request(Method::POST, "/v1/session/rotate")
        .bearer_auth(token)
        .header("Idempotency-Key", key)
        .send()
        .await
        .unwrap()
}

async fn token_of(response: Response) -> String {
    let body: Value = response.json().await.unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn repeated_create_request_returns_the_same_response_and_is_marked_as_replayed(
    #[case] store: Store,
) {
    let app = start_app(store).await;
    let first = create(&app, "ci", KEY, &build_valid_body()).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let repeated = create(&app, "ci", KEY, &build_valid_body()).await;
    assert_eq!(repeated.status(), StatusCode::CREATED);
    assert_eq!(repeated.headers()["idempotency-replayed"], "true");
    assert_eq!(repeated.headers()["location"], first.headers()["location"]);
    assert_eq!(get_etag(&repeated), get_etag(&first));
    let first: Value = first.json().await.unwrap();
    assert_eq!(repeated.json::<Value>().await.unwrap(), first);

    let token = first["access_token"].as_str().unwrap();
    assert_eq!(app.get_session(token).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn repeated_rotation_returns_the_same_new_token_although_the_old_token_is_invalid() {
    let app = TestApp::spawn(Store::Memory).await;
    let old = app.log_in().await;
    let first = rotate(&app, &old, KEY).await;
    assert_eq!(first.status(), StatusCode::OK);
    let new = token_of(first).await;
    assert_problem(app.get_session(&old).await, 401, "invalid_token").await;

    let repeated = rotate(&app, &old, KEY).await;
    assert_eq!(repeated.status(), StatusCode::OK);
    assert_eq!(repeated.headers()["idempotency-replayed"], "true");
    assert_eq!(token_of(repeated).await, new);
    assert_eq!(app.get_session(&new).await.status(), StatusCode::OK);
    let with_another_key = rotate(&app, &old, "another-key-0000").await;
    assert_problem(with_another_key, 401, "invalid_token").await;
}

#[tokio::test]
async fn same_key_with_another_body_returns_422_idempotency_key_reused() {
    let app = start_app(Store::Memory).await;
    create(&app, "ci", KEY, &build_valid_body()).await;
    let other = json!({"cookies": {"SESSIONID": "other"}, "base_url": "https://golf.example"});
    let response = create(&app, "ci", KEY, &other).await;
    assert_problem(response, 422, "idempotency_key_reused").await;
}

#[tokio::test]
async fn same_key_of_another_service_client_creates_another_session() {
    let app = start_app(Store::Memory).await;
    let first = create(&app, "ci", KEY, &build_valid_body()).await;
    let other = create(&app, "other", KEY, &build_valid_body()).await;
    assert!(!other.headers().contains_key("idempotency-replayed"));
    assert_ne!(token_of(first).await, token_of(other).await);
}

#[rstest]
#[case::too_short("0123456789abcde")]
#[case::too_long(&"k".repeat(256))]
#[case::space("0123456789 abcdef")]
#[case::empty("")]
#[tokio::test]
async fn malformed_idempotency_key_returns_400_for_create_and_rotate(#[case] key: &str) {
    let app = start_app(Store::Memory).await;
    let created = create(&app, "ci", "valid-key-00000000", &build_valid_body()).await;
    let token = token_of(created).await;
    let response = create(&app, "ci", key, &build_valid_body()).await;
    assert_problem(response, 400, "invalid_request").await;
    assert_problem(rotate(&app, &token, key).await, 400, "invalid_request").await;
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn idempotency_key_with_a_byte_that_is_not_ascii_returns_400() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let response = app
        .request(Method::POST, "/v1/session/rotate")
        .bearer_auth(&token)
        .header(
            "Idempotency-Key",
            HeaderValue::from_bytes(b"0123456789abcdef\xe9").unwrap(),
        )
        .send()
        .await
        .unwrap();
    assert_problem(response, 400, "invalid_request").await;
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
}

#[rstest]
#[case::shortest(16)]
#[case::longest(255)]
#[tokio::test]
async fn idempotency_key_of_16_to_255_visible_characters_is_accepted(#[case] length: usize) {
    let app = start_app(Store::Memory).await;
    let key = "!~".repeat(length).split_off(length);
    let created = create(&app, "ci", &key, &build_valid_body()).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let rotated = rotate(&app, &token_of(created).await, &key).await;
    assert_eq!(rotated.status(), StatusCode::OK);
}

#[tokio::test]
async fn repeated_idempotency_key_field_returns_400() {
    let app = start_app(Store::Memory).await;
    let response = app
        .request(Method::POST, "/v1/sessions")
        .basic_auth("ci", Some("s3cret"))
        .header("Idempotency-Key", KEY)
        .header("Idempotency-Key", KEY)
        .json(&build_valid_body())
        .send()
        .await
        .unwrap();
    assert_problem(response, 400, "invalid_request").await;
}

#[tokio::test]
async fn create_request_with_a_key_but_without_credentials_returns_400() {
    let app = TestApp::spawn(Store::Memory).await;
    let response = app
        .request(Method::POST, "/v1/sessions")
        .header("Idempotency-Key", KEY)
        .json(&build_valid_body())
        .send()
        .await
        .unwrap();
    assert_problem(response, 400, "invalid_request").await;
}

/// Checks that the application does not wait for the body of a request that it rejects anyway.
#[tokio::test]
async fn create_request_with_a_key_but_without_credentials_is_rejected_before_its_body_is_read() {
    let app = TestApp::spawn(Store::Memory).await;
    let head = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\nIdempotency-Key: {KEY}\r\n\r\n"
    );
    let answer = app.send_raw(head.as_bytes(), Duration::from_secs(1)).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("Authorization"), "{answer}");
}

/// Without service clients, the service checks no client secret. An `Idempotency-Key` still belongs
/// to the value of `Authorization` with which it was sent.
#[tokio::test]
async fn without_service_clients_the_same_key_with_another_authorization_creates_another_session() {
    let app = TestApp::spawn(Store::Memory).await;
    let first = create(&app, "any", KEY, &build_valid_body()).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let repeated = create(&app, "any", KEY, &build_valid_body()).await;
    assert_eq!(repeated.headers()["idempotency-replayed"], "true");
    assert_eq!(token_of(repeated).await, token_of(first).await);
    let other = create(&app, "another", KEY, &build_valid_body()).await;
    assert_eq!(other.status(), StatusCode::CREATED);
    assert!(!other.headers().contains_key("idempotency-replayed"));
}

/// Checks that each response is a success or 409 `idempotency_in_progress`, and that all successes
/// have the same token. Returns this token.
async fn common_token(responses: Vec<Response>, success: StatusCode) -> String {
    let mut tokens = Vec::new();
    for response in responses {
        if response.status() == success {
            tokens.push(token_of(response).await);
        } else {
            assert_problem(response, 409, "idempotency_in_progress").await;
        }
    }
    assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]));
    tokens.pop().expect("one of the requests succeeds")
}

#[tokio::test]
async fn concurrent_repetitions_at_two_instances_create_one_session_and_rotate_it_once() {
    let redis = RedisProcess::start().await;
    let apps = start_two_apps(&redis).await;
    for round in 0..5 {
        let key = format!("round-{round}-0123456789");
        let (key, body) = (&key, &build_valid_body());
        let created = (0..16).map(|number| create(&apps[number % 2], "ci", key, body));
        let created = join_all(created).await;
        let old = &common_token(created, StatusCode::CREATED).await;
        let rotated = (0..16).map(|number| rotate(&apps[number % 2], old, key));
        let new = common_token(join_all(rotated).await, StatusCode::OK).await;
        assert_eq!(apps[0].get_session(&new).await.status(), StatusCode::OK);
        assert_problem(apps[1].get_session(old).await, 401, "invalid_token").await;
        assert_eq!(count_sessions(&redis).await, round + 1);
    }
}

/// Returns the number of session records in Redis. The key of a session record is `session:`
/// followed by the session id, which has 22 characters.
async fn count_sessions(redis: &RedisProcess) -> usize {
    let pattern = format!("session:{}", "?".repeat(22));
    let keys = redis.command(&["KEYS", &pattern]).await;
    keys.into_array().len()
}

/// The client of a login disconnects after Redis has stored the session, and before the client gets
/// the response. A repetition at another instance returns the session.
#[tokio::test]
async fn login_whose_response_is_lost_is_returned_by_a_repetition_at_another_instance() {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let builder = || TestApp::builder().service_clients(clients());
    let app = builder().spawn_on_redis(&format!("redis://{}", proxy.address()));
    let other = builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    other.until_ready().await;

    proxy.set(Fault::Delay(Duration::from_millis(300)));
    let body = build_valid_body().to_string();
    let request = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Authorization: Basic {}\r\nIdempotency-Key: {KEY}\r\nContent-Length: {}\r\n\r\n{body}",
        STANDARD.encode("ci:s3cret"),
        body.len()
    );
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    eventually(Duration::from_secs(10), async || {
        count_sessions(&redis).await == 1
    })
    .await;
    drop(stream);
    proxy.set(Fault::None);

    let mut repeated = None;
    eventually(Duration::from_secs(10), async || {
        let response = post_text(&other, &body).await;
        let is_created = response.status() == StatusCode::CREATED;
        repeated = is_created.then_some(response);
        repeated.is_some()
    })
    .await;
    let repeated = repeated.unwrap();
    assert_eq!(repeated.headers()["idempotency-replayed"], "true");
    let token = token_of(repeated).await;
    assert_eq!(other.get_session(&token).await.status(), StatusCode::OK);
    assert_eq!(count_sessions(&redis).await, 1);
}

async fn post_text(app: &TestApp, body: &str) -> Response {
    app.request(Method::POST, "/v1/sessions")
        .basic_auth("ci", Some("s3cret"))
        .header("Idempotency-Key", KEY)
        .header("Content-Type", "application/json")
        .body(body.to_owned())
        .send()
        .await
        .unwrap()
}

/// An application with a repository that delays a call: the third call for an existing session
/// waits for a signal. In a rotation with a key, the third call moves the session to the new token.
struct HeldRotation {
    app: TestApp,
    calls: Arc<AtomicUsize>,
    go_on: watch::Sender<bool>,
}

impl HeldRotation {
    async fn start() -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let go_on = watch::Sender::new(false);
        let hook = {
            let (calls, go_on) = (Arc::clone(&calls), go_on.clone());
            move |_: &SessionToken| {
                let is_held = calls.fetch_add(1, Ordering::SeqCst) == 2;
                let mut go_on = go_on.subscribe();
                async move {
                    if is_held {
                        go_on.wait_for(|go_on| *go_on).await.unwrap();
                    }
                }
            }
        };
        let app = TestApp::builder().spawn_on(HookedRepository::new(hook));
        app.until_ready().await;
        Self { app, calls, go_on }
    }

    async fn until_held(&self) {
        eventually(Duration::from_secs(10), async || {
            self.calls.load(Ordering::SeqCst) >= 3
        })
        .await;
    }
}

/// Each store call takes 1.2 times the setting `call_timeout`, so the client may get an error
/// before the rotation has ended. In that case, a repetition returns the new token.
#[tokio::test]
async fn slow_rotation_with_a_key_returns_the_new_token_to_the_request_or_to_a_repetition() {
    let call_timeout = Duration::from_millis(200);
    let latency = call_timeout * 6 / 5;
    let repository = HookedRepository::new(move |_: &SessionToken| sleep(latency));
    let app = TestApp::builder()
        .with(|settings| settings.call_timeout = call_timeout)
        .spawn_on(repository);
    app.until_ready().await;
    let old = app.log_in().await;
    let mut new = String::new();
    eventually(Duration::from_secs(10), async || {
        let rotated = rotate(&app, &old, KEY).await;
        if rotated.status() == StatusCode::OK {
            new = token_of(rotated).await;
        }
        !new.is_empty()
    })
    .await;
    assert_eq!(app.get_session(&new).await.status(), StatusCode::OK);
}

/// Other clients with the same address have used up the limit of invalid tokens. If a client
/// repeats its rotation, the response must nevertheless contain the new token.
#[tokio::test]
async fn repeated_rotation_returns_the_new_token_to_an_address_over_the_limit_of_invalid_tokens() {
    let app = TestApp::builder()
        .with(allow_one_invalid_token)
        .spawn(Store::Memory)
        .await;
    let old = app.log_in().await;
    let new = token_of(rotate(&app, &old, KEY).await).await;
    assert_problem(app.get_session(&old).await, 401, "invalid_token").await;
    assert_problem(app.get_session(&old).await, 429, "too_many_requests").await;
    let repeated = rotate(&app, &old, KEY).await;
    assert_eq!(repeated.status(), StatusCode::OK);
    assert_eq!(token_of(repeated).await, new);
    let with_another_key = rotate(&app, &old, "another-key-0000").await;
    assert_problem(with_another_key, 429, "too_many_requests").await;
}

#[tokio::test]
async fn repetition_of_a_running_rotation_returns_409_with_retry_after_1() {
    let held = HeldRotation::start().await;
    let app = &held.app;
    let old = app.log_in().await;
    let repeat = async {
        held.until_held().await;
        let repeated = rotate(app, &old, KEY).await;
        assert_eq!(repeated.headers()["retry-after"], "1");
        assert_problem(repeated, 409, "idempotency_in_progress").await;
        held.go_on.send_replace(true);
    };
    let (first, ()) = join(rotate(app, &old, KEY), repeat).await;
    assert_eq!(first.status(), StatusCode::OK);
    let repeated = rotate(app, &old, KEY).await;
    assert_eq!(repeated.headers()["idempotency-replayed"], "true");
    assert_eq!(token_of(repeated).await, token_of(first).await);
}

#[tokio::test]
async fn rotation_with_a_key_that_loses_a_race_with_another_rotation_returns_401() {
    let held = HeldRotation::start().await;
    let app = &held.app;
    let old = app.log_in().await;
    let win = async {
        held.until_held().await;
        let token = token_of(app.rotate(&old).await).await;
        held.go_on.send_replace(true);
        token
    };
    let (first, new) = join(rotate(app, &old, KEY), win).await;
    assert_problem(first, 401, "invalid_token").await;
    assert_problem(rotate(app, &old, KEY).await, 401, "invalid_token").await;
    assert_eq!(app.get_session(&new).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn idempotency_key_of_a_create_request_rejected_with_422_can_be_used_again() {
    let app = start_app(Store::Memory).await;
    let invalid = json!({"cookies": {}, "base_url": "golf.example"});
    let response = create(&app, "ci", KEY, &invalid).await;
    assert_problem(response, 422, "invalid_session").await;
    let response = create(&app, "ci", KEY, &build_valid_body()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert!(!response.headers().contains_key("idempotency-replayed"));
}

/// Checks that Redis contains no idempotency key, no client secret and no token.
#[tokio::test]
async fn idempotency_record_in_redis_contains_no_idempotency_key_client_secret_or_token() {
    let redis = RedisProcess::start().await;
    let app = TestApp::builder()
        .service_clients(clients())
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = token_of(create(&app, "ci", KEY, &build_valid_body()).await).await;
    let keys = redis
        .command(&["KEYS", "session:-once-*"])
        .await
        .into_array();
    assert_eq!(keys.len(), 1);
    let name = keys[0].as_string().unwrap();
    let value = redis.command(&["GET", &name]).await;
    let stored = format!("{name} {:?}", value.as_bytes().unwrap());
    let text = String::from_utf8_lossy(value.as_bytes().unwrap()).into_owned();
    for secret in [KEY, "s3cret", &token] {
        assert!(!stored.contains(secret) && !text.contains(secret));
    }
    let ttl = redis.command(&["TTL", &name]).await.as_i64().unwrap();
    assert!((50..=60).contains(&ttl), "{ttl}");
}

/// The connection to Redis is lost at different times during a rotation, so that the client does
/// not know whether the rotation has succeeded. If the client repeats the request at another
/// instance, the repetition finishes the rotation. While the first request may still be running,
/// the repetition is answered with 409.
#[rstest]
#[tokio::test]
async fn rotation_with_an_unknown_outcome_is_finished_by_a_repetition_at_another_instance(
    #[values(0, 1, 2, 4, 8)] milliseconds: u64,
    #[values(Fault::Stall, Fault::SwallowAnswers)] fault: Fault,
) {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let builder = || TestApp::builder().with(|settings| settings.call_timeout = CALL_TIMEOUT);
    let app = builder().spawn_on_redis(&format!("redis://{}", proxy.address()));
    let other = builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    other.until_ready().await;
    let old = app.log_in().await;

    let cut = async {
        sleep(Duration::from_millis(milliseconds)).await;
        proxy.set(fault);
    };
    let (first, ()) = join(rotate(&app, &old, KEY), cut).await;
    let mut new = String::new();
    eventually(Duration::from_secs(20), async || {
        let repeated = rotate(&other, &old, KEY).await;
        if repeated.status() == StatusCode::CONFLICT {
            assert_problem(repeated, 409, "idempotency_in_progress").await;
            return false;
        }
        assert_eq!(repeated.status(), StatusCode::OK);
        new = token_of(repeated).await;
        true
    })
    .await;
    if first.status() == StatusCode::OK {
        assert_eq!(token_of(first).await, new);
    }
    assert_eq!(other.get_session(&new).await.status(), StatusCode::OK);
    assert_problem(other.get_session(&old).await, 401, "invalid_token").await;
}
