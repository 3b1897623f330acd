//! Tests of the `Idempotency-Key` header field, with which a client repeats a request whose
//! response was lost.

use std::time::Duration;

use futures_util::future::join;
use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_api_server::{Scope, ServiceClient, ServiceClients};
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, eventually};
use tokio::time::sleep;

use crate::test_app::{Store, TestApp, assert_problem, build_valid_body, get_etag};

/// SHA-256 hash of the client secret `s3cret` in hexadecimal (`printf s3cret | sha256sum`).
const S3CRET: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

/// Timeout of one Redis command where the connection to Redis is lost. A repetition waits for ten
/// such timeouts.
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
async fn create_request_repeated_with_the_same_idempotency_key_gets_the_same_response(
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

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn rotation_repeated_with_the_same_idempotency_key_returns_the_same_new_token(
    #[case] store: Store,
) {
    let app = TestApp::spawn(store).await;
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
async fn create_request_that_reuses_an_idempotency_key_with_another_body_returns_422() {
    let app = start_app(Store::Memory).await;
    create(&app, "ci", KEY, &build_valid_body()).await;
    let other = json!({"cookies": {"SESSIONID": "other"}, "base_url": "https://golf.example"});
    let response = create(&app, "ci", KEY, &other).await;
    assert_problem(response, 422, "idempotency_key_reused").await;
}

#[tokio::test]
async fn same_idempotency_key_from_another_service_client_creates_another_session() {
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
async fn request_with_two_idempotency_key_headers_returns_400() {
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
async fn create_request_with_an_idempotency_key_but_without_client_credentials_returns_400() {
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

#[tokio::test]
async fn idempotency_key_of_a_rejected_create_request_may_be_used_again() {
    let app = start_app(Store::Memory).await;
    let invalid = json!({"cookies": {}, "base_url": "https://golf.example"});
    let response = create(&app, "ci", KEY, &invalid).await;
    assert_problem(response, 422, "invalid_session").await;
    let response = create(&app, "ci", KEY, &build_valid_body()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert!(!response.headers().contains_key("idempotency-replayed"));
}

/// Redis contains neither the key, nor the client secret, nor a token.
#[tokio::test]
async fn idempotency_record_in_redis_contains_neither_its_key_nor_a_client_secret_nor_a_token() {
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

/// The connection to Redis is lost at different times during a rotation, so that the outcome of the
/// first request is unknown. A repetition through another instance finishes the rotation. While the
/// first request may still be running, the repetition is answered with 409.
#[rstest]
#[tokio::test]
async fn rotation_interrupted_by_a_redis_failure_is_finished_by_a_retry_on_another_instance(
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
