//! What is tried again, and what never: each row of the table in the crate's documentation.

use std::time::{Duration, Instant};

use rstest::rstest;
use tee_session_client::{Client, ClientBuilder, ClientError};

use crate::{
    any_call::{AnyCall, SECRET, client_of},
    scripted_server::{ScriptedServer, Step},
};

fn announced_but_cut_off() -> Step {
    Step::CutOff("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned())
}

fn overloaded() -> Step {
    Step::problem(503, "overloaded", &[("Retry-After", "0")])
}

fn store_unavailable() -> Step {
    Step::problem(503, "store_unavailable", &[("Retry-After", "0")])
}

fn too_many_requests() -> Step {
    Step::problem(429, "too_many_requests", &[("Retry-After", "0")])
}

/// An idle moment longer than a loopback connection ever takes, and no longer than a test may.
fn builder_for(server: &ScriptedServer) -> ClientBuilder {
    Client::builder(server.url())
        .credentials("shop", SECRET)
        .timeout(Duration::from_secs(1))
}

#[rstest]
#[tokio::test]
async fn what_does_no_harm_is_repeated_until_it_succeeds(
    #[values(
        AnyCall::Get,
        AnyCall::Ttl,
        AnyCall::Authorize,
        AnyCall::Delete,
        AnyCall::List,
        AnyCall::EndAll,
        AnyCall::EndOne,
        AnyCall::Introspect,
        AnyCall::Revoke,
        AnyCall::Health
    )]
    call: AnyCall,
    #[values(
        Step::HangUp,
        announced_but_cut_off(),
        Step::Hang,
        overloaded(),
        store_unavailable(),
        too_many_requests(),
        Step::status(408),
        Step::status(502),
        Step::status(504)
    )]
    failure: Step,
) {
    let server = ScriptedServer::start([failure, call.success()]).await;
    call.make(&builder_for(&server).build().unwrap())
        .await
        .unwrap();
    assert_eq!(server.received().len(), 2);
}

#[rstest]
#[tokio::test]
async fn what_creates_or_changes_is_never_sent_twice(
    #[values(
        AnyCall::Create,
        AnyCall::Update,
        AnyCall::UpdateIfMatch,
        AnyCall::Rotate
    )]
    call: AnyCall,
    #[values(
        (Step::HangUp, true),
        (announced_but_cut_off(), true),
        (Step::Hang, true),
        (store_unavailable(), true),
        (Step::status(502), true),
        (Step::status(504), true),
        (overloaded(), false),
        (too_many_requests(), false),
        (Step::status(408), false)
    )]
    failure_and_whether_it_may_be_done: (Step, bool),
) {
    let (failure, may_be_done) = failure_and_whether_it_may_be_done;
    let server = ScriptedServer::start([failure, call.success()]).await;
    let client = builder_for(&server).build().unwrap();
    let error = call.make(&client).await.unwrap_err();
    assert_eq!(server.received().len(), 1);
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(error.outcome_is_unknown(), may_be_done, "{error:?}");
}

#[rstest]
#[tokio::test]
async fn without_a_connection_everything_is_tried_again(
    #[values(
        AnyCall::Create,
        AnyCall::Get,
        AnyCall::Update,
        AnyCall::Rotate,
        AnyCall::Delete,
        AnyCall::EndAll
    )]
    call: AnyCall,
) {
    // It hangs up on what is no HTTP: the handshake of TLS fails, and no request is sent.
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
async fn a_refusal_is_taken_for_an_answer(
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
    let error = call.make(&client_of(&server)).await.unwrap_err();
    assert_eq!(server.received().len(), 1);
    assert!(!error.is_retryable(), "{error:?}");
}

#[rstest]
#[case::logout(AnyCall::Delete, Step::problem(401, "invalid_token", &[]))]
#[case::by_id(AnyCall::EndOne, Step::problem(404, "not_found", &[]))]
#[tokio::test]
async fn what_may_have_been_ended_and_is_gone_is_done(
    #[case] call: AnyCall,
    #[case] gone: Step,
    #[values(Step::HangUp, announced_but_cut_off(), store_unavailable())] lost: Step,
) {
    let server = ScriptedServer::start([lost, gone]).await;
    call.make(&client_of(&server)).await.unwrap();
    assert_eq!(server.received().len(), 2);
}

#[rstest]
#[case::logout(AnyCall::Delete, Step::problem(401, "invalid_token", &[]), 401)]
#[case::by_id(AnyCall::EndOne, Step::problem(404, "not_found", &[]), 404)]
#[tokio::test]
async fn what_cannot_have_been_ended_and_is_gone_was_never_there(
    #[case] call: AnyCall,
    #[case] gone: Step,
    #[case] status: u16,
    #[values(overloaded(), Step::status(408))] refused: Step,
) {
    let server = ScriptedServer::start([refused, gone]).await;
    let error = call.make(&client_of(&server)).await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, status);
}

#[tokio::test]
async fn a_read_of_a_session_that_has_ended_in_between_says_so() {
    let gone = Step::problem(401, "invalid_token", &[]);
    let server = ScriptedServer::start([store_unavailable(), gone]).await;
    let error = AnyCall::Get.make(&client_of(&server)).await.unwrap_err();
    assert!(error.is_invalid_token(), "{error:?}");
}

#[rstest]
#[case::by_default(None, 3)]
#[case::once(Some(1), 1)]
#[case::no_attempt_is_one_too(Some(0), 1)]
#[case::often(Some(5), 5)]
#[tokio::test]
async fn attempts_are_counted(#[case] attempts: Option<u32>, #[case] expected: usize) {
    let server = ScriptedServer::start([store_unavailable()]).await;
    let mut builder = builder_for(&server);
    if let Some(attempts) = attempts {
        builder = builder.attempts(attempts);
    }
    let client = builder.build().unwrap();
    let error = AnyCall::Get.make(&client).await.unwrap_err();
    assert_eq!(error.problem().unwrap().status, 503);
    assert_eq!(server.received().len(), expected);
}

#[tokio::test]
async fn it_waits_as_long_as_it_is_asked_to() {
    let busy = Step::problem(503, "overloaded", &[("Retry-After", "1")]);
    let server = ScriptedServer::start([busy, AnyCall::Get.success()]).await;
    let asked = Instant::now();
    AnyCall::Get.make(&client_of(&server)).await.unwrap();
    assert!(asked.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.received().len(), 2);
}

#[rstest]
#[case::an_hour("3600", 3_600)]
#[case::for_ever("18446744073709551615", u64::MAX)]
#[tokio::test]
async fn what_it_may_not_wait_for_is_left_to_the_caller_at_once(
    #[case] wait: &str,
    #[case] seconds: u64,
) {
    let away = Step::problem(503, "store_unavailable", &[("Retry-After", wait)]);
    let server = ScriptedServer::start([away]).await;
    let asked = Instant::now();
    let error = AnyCall::Get.make(&client_of(&server)).await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(seconds)));
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn without_bounds_it_waits_for_an_answer_all_the_same() {
    let server = ScriptedServer::start([overloaded(), AnyCall::Get.success()]).await;
    let builder = Client::builder(server.url()).timeout(Duration::MAX);
    let client = builder.deadline(Duration::MAX).attempts(u32::MAX);
    AnyCall::Get.make(&client.build().unwrap()).await.unwrap();
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_whatever_the_attempts() {
    let server = ScriptedServer::start([Step::Hang]).await;
    let builder = builder_for(&server).attempts(100);
    let client = builder
        .deadline(Duration::from_millis(2_500))
        .build()
        .unwrap();
    let asked = Instant::now();
    let error = AnyCall::Get.make(&client).await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error:?}");
    assert!(
        asked.elapsed() < Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
    assert!((2..=3).contains(&server.received().len()));
}
