//! Tests of the Rust client library against the built binary.

use std::{fs, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;
use tee_session_client::{BaseUrl, Client, ClientError, Cookies, ProblemCode, SessionPatch};
use tee_session_test_support::{RedisProcess, TestAuthority};

use crate::service::{self, Service};

#[path = "../../../client/examples/walk_through.rs"]
#[allow(dead_code, reason = "the test does not call its `main`")]
mod example;

/// Value of the setting `service_clients` with two clients. `secret_sha256` is the output of
/// `printf s3cret | sha256sum`.
const CLIENTS: &str = r#"[{
    "id": "shop",
    "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0",
    "scopes": ["create", "introspect", "revoke", "admin"]
}, {
    "id": "reader",
    "secret_sha256": "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0",
    "scopes": ["introspect"]
}]"#;

fn client_of(service: &Service) -> Client {
    Client::new(service.base()).unwrap()
}

fn session_input() -> (Cookies, BaseUrl) {
    let cookies = [
        ("z".to_owned(), "grün; \"⛳\"".to_owned()),
        ("a".to_owned(), String::new()),
    ];
    let base_url = BaseUrl::new("https://golf.example/members?club=7");
    (Cookies::new(cookies).unwrap(), base_url.unwrap())
}

/// Makes every call of the client library, and checks the results.
async fn make_every_call(client: &Client) {
    read_and_end_a_session(client).await;
    update_and_rotate_a_session(client).await;
    list_and_end_sessions_of_a_subject(client).await;
    merge_cookies_and_compute_the_cookie_header(client).await;
}

async fn read_and_end_a_session(client: &Client) {
    let (cookies, base_url) = session_input();
    let new = client.create(&cookies, &base_url).send().await.unwrap();
    let holder = client.session(&new.access_token);
    assert_eq!(new.expires_in, Duration::from_secs(1_800));

    let session = holder.get().await.unwrap();
    assert_eq!(session.cookies, cookies);
    assert_eq!(session.base_url, base_url);
    assert_eq!(session.session_id, new.session_id);
    assert!(session.created_at < session.expires_at);
    assert!(session.etag.is_some());
    assert_eq!(session.etag, new.etag);

    let left = holder.ttl().await.unwrap();
    assert!((1_790..=1_800).contains(&left.ttl.as_secs()), "{left:?}");

    let authorized = holder.authorize().await.unwrap();
    assert_eq!(authorized.sub, new.session_id.to_string());
    assert_eq!(authorized.subject, None);
    assert_eq!(authorized.base_url, base_url);
    assert_eq!(authorized.created_at, session.created_at);

    let known = client.introspect(&new.access_token).await.unwrap();
    let known = known.expect("the session lives");
    assert_eq!(known.sub, authorized.sub);
    let created_at = session.created_at.unix_timestamp();
    assert_eq!(known.issued_at.unix_timestamp(), created_at);

    holder.delete().await.unwrap();
    assert!(holder.delete().await.unwrap_err().is_invalid_token());
    assert!(holder.get().await.unwrap_err().is_invalid_token());
    assert_eq!(client.introspect(&new.access_token).await.unwrap(), None);

    let new = client.create(&cookies, &base_url).send().await.unwrap();
    client.revoke(&new.access_token).await.unwrap();
    client.revoke(&new.access_token).await.unwrap();
    let revoked = client.session(&new.access_token).get().await;
    assert!(revoked.unwrap_err().is_invalid_token());
}

async fn merge_cookies_and_compute_the_cookie_header(client: &Client) {
    const URL: &str = "https://golf.example/members/book";
    let (_, base_url) = session_input();
    let cookies = [("z", "1"), ("a", "0")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let cookies = Cookies::new(cookies).unwrap();
    let new = client.create(&cookies, &base_url).send().await.unwrap();
    let holder = client.session(&new.access_token);
    let lines = ["a=2; Path=/members", "b=3; Path=/shop", "c=4; Domain=com"];
    let merged = holder.merge_cookies(URL, lines).send().await.unwrap();
    assert_eq!(merged.session.cookies.get("a"), Some("2"));
    assert_eq!(merged.ignored.len(), 1);
    assert_eq!(merged.ignored[0].index, 2);

    let session = holder.get_with_attributes().await.unwrap();
    let header = session.jar_for(URL).unwrap().unwrap();
    assert!(header.starts_with("a=2; z="), "{}", *header);
    let elsewhere = session.jar_for("https://other.example/").unwrap();
    assert!(elsewhere.is_none());
}

async fn update_and_rotate_a_session(client: &Client) {
    let (cookies, base_url) = session_input();
    let new = client.create(&cookies, &base_url).subject("member-4711");
    let new = new.send().await.unwrap();
    let holder = client.session(&new.access_token);
    let first = new.etag.unwrap();

    let patch = SessionPatch::new().set_cookie("z", "1").remove_cookie("a");
    let conditional = patch.if_match(&first);
    let changed = holder.update(&conditional).await.unwrap();
    let expected = Cookies::new([("z".to_owned(), "1".to_owned())]).unwrap();
    assert_eq!(changed.cookies, expected);
    assert_eq!(changed.base_url, base_url);
    let second = changed.etag.clone().unwrap();
    assert_ne!(second, first);
    let refused = holder.update(&conditional).await.unwrap_err();
    let problem = refused.problem().unwrap();
    assert_eq!(problem.status, 412);
    assert_eq!(problem.code, ProblemCode::PreconditionFailed);
    assert_eq!(holder.get().await.unwrap().cookies, expected);

    let rotated = holder.rotate().await.unwrap();
    assert!(holder.get().await.unwrap_err().is_invalid_token());
    let session = client.session(&rotated.access_token).get().await.unwrap();
    assert_eq!(session.cookies, expected);
    assert_eq!(session.session_id, rotated.session_id);
    assert!(session.etag.is_some());
    assert_eq!(session.etag, rotated.etag);
    let authorized = client.session(&rotated.access_token).authorize().await;
    let authorized = authorized.unwrap();
    assert_eq!(authorized.sub, "member-4711");
    assert_eq!(authorized.subject.as_deref(), Some("member-4711"));
    client.end_session(&rotated.session_id).await.unwrap();
}

async fn list_and_end_sessions_of_a_subject(client: &Client) {
    let (cookies, base_url) = session_input();
    let create = |label| {
        let new = client.create(&cookies, &base_url).subject("member-4712");
        new.label(label).send()
    };
    let first = create("telephone").await.unwrap();
    let second = create("tablet").await.unwrap();

    let list = client.list_sessions("member-4712").limit(1);
    let mut page = list.send().await.unwrap();
    let mut listed = page.sessions.clone();
    assert_eq!(listed.len(), 1);
    while let Some(next) = &page.next {
        page = list.after(next).send().await.unwrap();
        listed.extend(page.sessions.clone());
    }
    let ids: Vec<_> = listed.iter().map(|session| session.session_id).collect();
    assert_eq!(ids, [first.session_id, second.session_id]);
    let labels: Vec<_> = listed
        .iter()
        .map(|session| session.attributes.label.as_deref())
        .collect();
    assert_eq!(labels, [Some("telephone"), Some("tablet")]);
    assert!(listed[0].created_at <= listed[0].last_seen);

    client.end_session(&first.session_id).await.unwrap();
    let ended = client.session(&first.access_token).get().await;
    assert!(ended.unwrap_err().is_invalid_token());
    let unknown = client.end_session(&first.session_id).await.unwrap_err();
    assert_eq!(unknown.problem().unwrap().status, 404);

    assert_eq!(client.end_sessions("member-4712").await.unwrap(), 1);
    let ended = client.session(&second.access_token).get().await;
    assert!(ended.unwrap_err().is_invalid_token());
    assert_eq!(client.end_sessions("member-4712").await.unwrap(), 0);
}

#[tokio::test]
async fn example_program_of_the_rust_client_library_runs_to_completion() {
    let service = service::start(&[]).await;
    let mut output = Vec::new();
    let walked = example::walk_through(&client_of(&service), &mut output).await;
    walked.unwrap();
    let output = String::from_utf8(output).unwrap();
    assert!(
        output.starts_with("the service is Healthy, on memory\n"),
        "{output}"
    );
    assert!(output.ends_with("logged out\n"), "{output}");
}

#[tokio::test]
async fn every_rust_client_call_succeeds_with_service_client_credentials_and_sessions_in_redis() {
    let redis = RedisProcess::start().await;
    let flags = ["--redis-url", &redis.url(), "--service-clients", CLIENTS];
    let service = service::start(&flags).await;
    service.until_ready(Duration::from_secs(5)).await;
    make_every_call(&client_of(&service).with_credentials("shop", "s3cret")).await;
}

#[tokio::test]
async fn every_call_of_the_rust_client_succeeds_over_tls_with_a_trusted_certificate_authority() {
    let authority = TestAuthority::new();
    let service = service::start_https(&authority.issue("service")).await;
    let trusting = Client::builder(service.base())
        .certificate_authorities(fs::read(authority.ca_file()).unwrap())
        .build();
    make_every_call(&trusting.unwrap()).await;

    let stranger = client_of(&service).health().await.unwrap_err();
    assert!(
        matches!(stranger, ClientError::Connect { .. }),
        "{stranger:?}"
    );
}

#[tokio::test]
async fn wrong_credentials_return_invalid_client_and_a_missing_scope_returns_insufficient_scope() {
    let service = service::start(&["--service-clients", CLIENTS]).await;
    let (cookies, base_url) = session_input();
    let unknown = client_of(&service);
    let wrong = unknown.clone().with_credentials("shop", "wrong");
    let reader = unknown.clone().with_credentials("reader", "s3cret");
    let expected = [
        (unknown, 401, ProblemCode::InvalidClient),
        (wrong, 401, ProblemCode::InvalidClient),
        (reader, 403, ProblemCode::InsufficientScope),
    ];
    for (client, status, code) in expected {
        let refused = client.create(&cookies, &base_url).send().await.unwrap_err();
        let problem = refused.problem().unwrap();
        assert_eq!((problem.status, &problem.code), (status, &code));
        assert!(!refused.outcome_is_unknown());
    }
}

#[tokio::test]
async fn validation_error_in_the_rust_client_names_the_invalid_member_of_the_request_body() {
    let service = service::start(&["--allowed-base-hosts", "golf.example"]).await;
    let client = client_of(&service);
    let (cookies, _) = session_input();
    let elsewhere = BaseUrl::new("https://other.example").unwrap();
    let refused = client.create(&cookies, &elsewhere).send().await;
    let refused = refused.unwrap_err();
    let problem = refused.problem().unwrap();
    assert_eq!(problem.code, ProblemCode::InvalidSession);
    assert_eq!(problem.errors[0].pointer, "/base_url");
}

#[tokio::test]
async fn rust_client_returns_store_unavailable_and_not_invalid_token_during_a_redis_outage() {
    let mut redis = RedisProcess::start().await;
    let service = service::start(&["--redis-url", &redis.url()]).await;
    service.until_ready(Duration::from_secs(5)).await;
    let client = client_of(&service);
    let (cookies, base_url) = session_input();
    let new = client.create(&cookies, &base_url).send().await.unwrap();
    redis.kill().await;

    let error = client.session(&new.access_token).get().await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!(problem.code, ProblemCode::StoreUnavailable);
    assert!(!error.is_invalid_token());
    assert!(error.is_retryable());
    assert!(error.retry_after().is_some());
    let error = client.create(&cookies, &base_url).send().await.unwrap_err();
    assert!(error.outcome_is_unknown(), "{error:?}");
}

#[tokio::test]
async fn rust_client_call_to_a_stopped_service_returns_a_connect_error() {
    let mut service = service::start(&[]).await;
    let client = client_of(&service);
    client.health().await.unwrap();
    service.signal(Signal::SIGTERM);
    service.ended(Duration::from_secs(10)).await;
    let (cookies, base_url) = session_input();
    let error = client.create(&cookies, &base_url).send().await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
}

#[test]
fn rust_client_knows_every_problem_code_of_the_openapi_description() {
    let description = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let description: Value = serde_json::from_slice(&fs::read(description).unwrap()).unwrap();
    let problem = &description["components"]["schemas"]["Problem"];
    let codes = problem["properties"]["code"]["enum"].as_array().unwrap();
    for code in codes {
        let code = ProblemCode::from(code.as_str().unwrap().to_owned());
        assert!(!matches!(code, ProblemCode::Other(_)), "{code}");
    }
    assert!(codes.len() > 20, "{} codes", codes.len());
}
