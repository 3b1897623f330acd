//! Tests of retries. The tests cover each row of the table of retries in the crate's README.

use std::time::{Duration, Instant};

use rstest::rstest;
use tee_session_client::{Client, ClientBuilder, ClientError};

use crate::{
    any_call::{AnyCall, SECRET, create_client},
    scripted_server::{ScriptedServer, Step},
};

fn respond_truncated() -> Step {
    Step::CutOff("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned())
}

fn respond_overloaded() -> Step {
    Step::problem(503, "overloaded", &[("Retry-After", "0")])
}

fn respond_store_unavailable() -> Step {
    Step::problem(503, "store_unavailable", &[("Retry-After", "0")])
}

fn respond_too_many_requests() -> Step {
    Step::problem(429, "too_many_requests", &[("Retry-After", "0")])
}

/// Creates a client builder with a timeout of 1 s. This timeout is long enough for a connection to
/// the loopback interface, and short enough that a call without a response fails soon.
fn create_builder(server: &ScriptedServer) -> ClientBuilder {
    Client::builder(server.url())
        .credentials("shop", SECRET)
        .timeout(Duration::from_secs(1))
}

#[rstest]
#[tokio::test]
async fn idempotent_call_is_retried_after_a_transient_failure(
    #[values(
        AnyCall::Get,
        AnyCall::Ttl,
        AnyCall::Authorize,
        AnyCall::Delete,
        AnyCall::List,
        AnyCall::Find,
        AnyCall::EndAll,
        AnyCall::EndOne,
        AnyCall::Introspect,
        AnyCall::Revoke,
        AnyCall::Health,
        // These two requests carry an `Idempotency-Key`.
        AnyCall::Create,
        AnyCall::Rotate
    )]
    call: AnyCall,
    #[values(
        Step::HangUp,
        respond_truncated(),
        Step::Hang,
        respond_overloaded(),
        respond_store_unavailable(),
        respond_too_many_requests(),
        Step::status(408),
        Step::status(502),
        Step::status(504)
    )]
    failure: Step,
) {
    let server = ScriptedServer::start([failure, call.success()]).await;
    call.make(&create_builder(&server).build().unwrap())
        .await
        .unwrap();
    assert_eq!(server.received().len(), 2);
}

#[rstest]
#[tokio::test]
async fn update_and_create_without_credentials_are_not_retried_after_the_request_was_sent(
    #[values(
        AnyCall::Create,
        AnyCall::Update,
        AnyCall::MergeCookies,
        AnyCall::UpdateIfMatch
    )]
    call: AnyCall,
    #[values(
        (Step::HangUp, true),
        (respond_truncated(), true),
        (Step::Hang, true),
        (respond_store_unavailable(), true),
        (Step::status(502), true),
        (Step::status(504), true),
        (respond_overloaded(), false),
        (respond_too_many_requests(), false),
        (Step::status(408), false)
    )]
    failure_and_unknown_outcome: (Step, bool),
) {
    let (failure, outcome_is_unknown) = failure_and_unknown_outcome;
    let server = ScriptedServer::start([failure, call.success()]).await;
    let builder = Client::builder(server.url()).timeout(Duration::from_secs(1));
    let error = call.make(&builder.build().unwrap()).await.unwrap_err();
    assert_eq!(server.received().len(), 1);
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(error.outcome_is_unknown(), outcome_is_unknown, "{error:?}");
}

/// All attempts of one call have the same `Idempotency-Key`, by which the service recognizes a
/// repetition. Another call has another key.
#[rstest]
#[case::create(AnyCall::Create)]
#[case::rotate(AnyCall::Rotate)]
#[tokio::test]
async fn retries_of_a_call_have_the_same_idempotency_key_and_another_call_has_another_key(
    #[case] call: AnyCall,
    #[values(Step::HangUp, respond_in_progress())] failure: Step,
) {
    let server = ScriptedServer::start([failure, call.success(), call.success()]).await;
    let client = create_builder(&server).build().unwrap();
    call.make(&client).await.unwrap();
    call.make(&client).await.unwrap();
    let keys: Vec<_> = server
        .received()
        .iter()
        .map(|request| request.header("idempotency-key").unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 3);
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
}

fn respond_in_progress() -> Step {
    Step::problem(409, "idempotency_in_progress", &[("Retry-After", "0")])
}

/// The service answers a retry with `idempotency_in_progress` while it handles the first request of
/// the call. These answers do not count towards the maximum number of attempts.
#[rstest]
#[case::create(AnyCall::Create)]
#[case::rotate(AnyCall::Rotate)]
#[tokio::test]
async fn call_is_retried_beyond_the_maximum_number_of_attempts_while_its_request_is_in_progress(
    #[case] call: AnyCall,
) {
    let running = std::iter::repeat_with(respond_in_progress).take(5);
    let steps: Vec<_> = std::iter::once(Step::HangUp)
        .chain(running)
        .chain([call.success()])
        .collect();
    let server = ScriptedServer::start(steps).await;
    let client = create_builder(&server).attempts(2).build().unwrap();
    call.make(&client).await.unwrap();
    assert_eq!(server.received().len(), 7);
}

#[rstest]
#[case::create(AnyCall::Create)]
#[case::rotate(AnyCall::Rotate)]
#[tokio::test]
async fn call_whose_request_is_still_running_at_the_deadline_has_an_unknown_outcome(
    #[case] call: AnyCall,
) {
    let running = Step::problem(409, "idempotency_in_progress", &[("Retry-After", "3600")]);
    let server = ScriptedServer::start([running]).await;
    let builder = create_builder(&server);
    let error = call.make(&builder.build().unwrap()).await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, 409);
    assert!(error.is_retryable() && error.outcome_is_unknown());
}

/// The first attempt may have been carried out. If a later attempt is rejected with a temporary
/// error, it is still unknown whether the first attempt was carried out.
#[rstest]
#[case::create(AnyCall::Create)]
#[case::rotate(AnyCall::Rotate)]
#[case::delete(AnyCall::Delete)]
#[tokio::test]
async fn outcome_stays_unknown_if_a_later_attempt_is_rejected_temporarily(
    #[case] call: AnyCall,
    #[values(respond_overloaded(), respond_too_many_requests(), Step::status(408))] refusal: Step,
    #[values(Step::HangUp, respond_store_unavailable(), respond_truncated())] lost: Step,
) {
    let server = ScriptedServer::start([lost, refusal]).await;
    let client = create_builder(&server).attempts(2).build().unwrap();
    let error = call.make(&client).await.unwrap_err();
    assert_eq!(server.received().len(), 2);
    assert!(
        error.is_retryable() && error.outcome_is_unknown(),
        "{error:?}"
    );
}

#[rstest]
#[case::create(AnyCall::Create)]
#[case::rotate(AnyCall::Rotate)]
#[tokio::test]
async fn create_or_rotate_whose_retry_gets_401_returns_this_error_with_a_known_outcome(
    #[case] call: AnyCall,
) {
    let gone = Step::problem(401, "invalid_token", &[]);
    let server = ScriptedServer::start([Step::HangUp, gone]).await;
    let error = call.make(&create_client(&server)).await.unwrap_err();
    assert!(error.is_invalid_token(), "{error:?}");
    assert!(!error.outcome_is_unknown());
}

#[tokio::test]
async fn create_without_credentials_has_no_idempotency_key() {
    let server = ScriptedServer::start([AnyCall::Create.success()]).await;
    let client = Client::builder(server.url()).build().unwrap();
    AnyCall::Create.make(&client).await.unwrap();
    assert!(server.received()[0].header("idempotency-key").is_none());
}

#[rstest]
#[tokio::test]
async fn every_call_is_retried_if_no_connection_can_be_established(
    #[values(
        AnyCall::Create,
        AnyCall::Get,
        AnyCall::Update,
        AnyCall::MergeCookies,
        AnyCall::Rotate,
        AnyCall::Delete,
        AnyCall::EndAll
    )]
    call: AnyCall,
) {
    // The server closes a connection on which it does not receive HTTP. The TLS handshake fails, so
    // the client sends no request.
    let server = ScriptedServer::start([call.success()]).await;
    let url = server.url().replace("http://", "https://");
    let client = Client::builder(url).credentials("shop", SECRET).attempts(4);
    let error = call.make(&client.build().unwrap()).await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    assert!(error.is_retryable());
    assert!(!error.outcome_is_unknown());
    assert_eq!(server.connections(), 4);
    assert!(server.received().is_empty());
}

#[rstest]
#[tokio::test]
async fn error_response_with_a_permanent_status_is_not_retried(
    #[values(AnyCall::Get, AnyCall::List, AnyCall::Delete, AnyCall::Create)] call: AnyCall,
    #[values(
        Step::problem(400, "invalid_request", &[]),
        Step::problem(401, "invalid_token", &[]),
        Step::problem(403, "insufficient_scope", &[]),
        Step::problem(404, "not_found", &[]),
        Step::problem(422, "invalid_session", &[]),
        Step::problem(500, "internal_error", &[]),
        Step::status(302)
    )]
    refusal: Step,
) {
    let server = ScriptedServer::start([refusal, call.success()]).await;
    let error = call.make(&create_client(&server)).await.unwrap_err();
    assert_eq!(server.received().len(), 1);
    assert!(!error.is_retryable(), "{error:?}");
}

#[rstest]
#[case::logout(AnyCall::Delete, Step::problem(401, "invalid_token", &[]))]
#[case::by_id(AnyCall::EndOne, Step::problem(404, "not_found", &[]))]
#[tokio::test]
async fn delete_succeeds_if_the_first_attempt_has_an_unknown_outcome_and_the_retry_finds_no_session(
    #[case] call: AnyCall,
    #[case] gone: Step,
    #[values(Step::HangUp, respond_truncated(), respond_store_unavailable())] lost: Step,
) {
    let server = ScriptedServer::start([lost, gone]).await;
    call.make(&create_client(&server)).await.unwrap();
    assert_eq!(server.received().len(), 2);
}

#[rstest]
#[case::logout(AnyCall::Delete, Step::problem(401, "invalid_token", &[]), 401)]
#[case::by_id(AnyCall::EndOne, Step::problem(404, "not_found", &[]), 404)]
#[tokio::test]
async fn delete_fails_if_the_first_attempt_was_rejected_and_the_retry_finds_no_session(
    #[case] call: AnyCall,
    #[case] gone: Step,
    #[case] status: u16,
    #[values(respond_overloaded(), Step::status(408))] refused: Step,
) {
    let server = ScriptedServer::start([refused, gone]).await;
    let error = call.make(&create_client(&server)).await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, status);
}

#[tokio::test]
async fn retried_get_returns_an_invalid_token_error_if_the_session_has_ended() {
    let gone = Step::problem(401, "invalid_token", &[]);
    let server = ScriptedServer::start([respond_store_unavailable(), gone]).await;
    let error = AnyCall::Get
        .make(&create_client(&server))
        .await
        .unwrap_err();
    assert!(error.is_invalid_token(), "{error:?}");
}

#[rstest]
#[case::by_default(None, 3)]
#[case::one(Some(1), 1)]
#[case::zero_is_treated_as_one(Some(0), 1)]
#[case::five(Some(5), 5)]
#[tokio::test]
async fn failing_call_makes_the_configured_number_of_attempts(
    #[case] attempts: Option<u32>,
    #[case] expected: usize,
) {
    let server = ScriptedServer::start([respond_store_unavailable()]).await;
    let mut builder = create_builder(&server);
    if let Some(attempts) = attempts {
        builder = builder.attempts(attempts);
    }
    let client = builder.build().unwrap();
    let error = AnyCall::Get.make(&client).await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, 503);
    assert_eq!(server.received().len(), expected);
}

#[tokio::test]
async fn retry_waits_for_the_time_in_retry_after() {
    let busy = Step::problem(503, "overloaded", &[("Retry-After", "1")]);
    let server = ScriptedServer::start([busy, AnyCall::Get.success()]).await;
    let started = Instant::now();
    AnyCall::Get.make(&create_client(&server)).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.received().len(), 2);
}

#[rstest]
#[case::one_hour("3600", 3_600)]
#[case::maximum("18446744073709551615", u64::MAX)]
#[tokio::test]
async fn call_fails_at_once_if_retry_after_exceeds_the_deadline(
    #[case] wait: &str,
    #[case] seconds: u64,
) {
    let away = Step::problem(503, "store_unavailable", &[("Retry-After", wait)]);
    let server = ScriptedServer::start([away]).await;
    let started = Instant::now();
    let error = AnyCall::Get
        .make(&create_client(&server))
        .await
        .unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds)));
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn call_with_the_largest_possible_timeout_and_deadline_succeeds_after_a_retry() {
    let server = ScriptedServer::start([respond_overloaded(), AnyCall::Get.success()]).await;
    let builder = Client::builder(server.url()).timeout(Duration::MAX);
    let client = builder.deadline(Duration::MAX).attempts(u32::MAX);
    AnyCall::Get.make(&client.build().unwrap()).await.unwrap();
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn call_returns_a_timeout_error_at_its_deadline_even_if_attempts_remain() {
    let server = ScriptedServer::start([Step::Hang]).await;
    let builder = create_builder(&server).attempts(100);
    let client = builder
        .deadline(Duration::from_millis(2_500))
        .build()
        .unwrap();
    let started = Instant::now();
    let error = AnyCall::Get.make(&client).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    assert!((2..=3).contains(&server.received().len()));
}
