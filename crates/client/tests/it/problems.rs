//! Tests of the errors that calls return for error responses and unexpected responses.

use rstest::rstest;
use serde_json::json;
use tee_session_client::{ClientError, ProblemCode};

use crate::{
    any_call::{AnyCall, create_client},
    scripted_server::{ScriptedServer, Step},
};

async fn get_error(call: AnyCall, answer: Step) -> ClientError {
    let server = ScriptedServer::start([answer]).await;
    call.make(&create_client(&server)).await.unwrap_err()
}

// A test of the crate `tee-session` compares all problem codes of the client with those of the
// service.
#[rstest]
#[case(401, "invalid_token", ProblemCode::InvalidToken)]
#[case(409, "session_limit_reached", ProblemCode::SessionLimitReached)]
#[case(
    431,
    "request_header_fields_too_large",
    ProblemCode::RequestHeaderFieldsTooLarge
)]
#[case(503, "store_unavailable", ProblemCode::StoreUnavailable)]
#[case(409, "of_tomorrow", ProblemCode::Other("of_tomorrow".to_owned()))]
#[tokio::test]
async fn problem_code_of_an_error_response_is_parsed_and_displayed(
    #[case] status: u16,
    #[case] code: &str,
    #[case] expected: ProblemCode,
) {
    let error = get_error(AnyCall::Create, Step::problem(status, code, &[])).await;
    let problem = error.problem().unwrap();
    assert_eq!(problem.status, status);
    assert_eq!(problem.code, expected);
    assert_eq!(problem.code.as_str(), code);
    assert_eq!(problem.detail, "A sentence");
    assert_eq!(error.is_invalid_token(), code == "invalid_token");
    let text = format!("the service answered {status} {code}: A sentence");
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn error_for_a_422_response_lists_invalid_members_with_pointer_and_detail() {
    let body = json!({
        "status": 422,
        "code": "invalid_session",
        "detail": "see the member errors",
        "errors": [
            {"pointer": "/cookies/x", "detail": "must be a string"},
            {"pointer": "/base_url", "detail": "is required"},
        ],
    });
    let problem_json = [("Content-Type", "application/problem+json; charset=utf-8")];
    let answer = Step::answer(422, &problem_json, &body.to_string());
    let error = get_error(AnyCall::Create, answer).await;
    let errors = error.problem().unwrap().errors.iter();
    let actual: Vec<_> = errors.map(|e| (&*e.pointer, &*e.detail)).collect();
    let expected = [
        ("/cookies/x", "must be a string"),
        ("/base_url", "is required"),
    ];
    assert_eq!(actual, expected);
}

#[rstest]
#[case::html_of_a_gateway(Step::answer(502, &[("Content-Type", "text/html")], "<h1>Bad</h1>"))]
#[case::json_of_a_gateway(Step::json(502, &json!({"code": "x", "detail": "y"})))]
#[case::no_body(Step::status(502))]
#[case::malformed_json(Step::answer(502, &[("Content-Type", "application/problem+json")], "{"))]
#[case::wrong_types(Step::answer(502, &[("Content-Type", "application/problem+json")], r#"{"code": 7}"#))]
#[tokio::test]
async fn error_for_a_response_without_problem_details_has_the_status_and_an_empty_code(
    #[case] answer: Step,
) {
    let error = get_error(AnyCall::Create, answer).await;
    let problem = error.problem().unwrap();
    assert_eq!(problem.status, 502);
    assert_eq!(problem.code, ProblemCode::Other(String::new()));
    assert_eq!(problem.detail, "");
}

#[rstest]
#[case::seconds("7", Some(7))]
#[case::date("Wed, 21 Oct 2026 07:28:00 GMT", None)]
#[case::negative("-1", None)]
#[case::empty("", None)]
#[case::too_large("99999999999999999999", None)]
#[tokio::test]
async fn retry_after_in_seconds_is_parsed_and_any_other_value_is_ignored(
    #[case] value: &str,
    #[case] seconds: Option<u64>,
) {
    let answer = Step::problem(503, "overloaded", &[("Retry-After", value)]);
    let error = get_error(AnyCall::Create, answer).await;
    assert_eq!(error.retry_after().map(|wait| wait.as_secs()), seconds);
}

#[rstest]
#[case::not_json(Step::answer(200, &[], "hello"))]
#[case::empty(Step::status(200))]
#[case::other_members(Step::json(200, &json!({"status": "healthy"})))]
#[tokio::test]
async fn successful_response_with_unexpected_body_returns_a_decode_error(
    #[values(
        AnyCall::Get,
        AnyCall::Ttl,
        AnyCall::Authorize,
        AnyCall::Update,
        AnyCall::Rotate,
        AnyCall::Create,
        AnyCall::List,
        AnyCall::Find,
        AnyCall::EndAll,
        AnyCall::Introspect,
        AnyCall::Health
    )]
    call: AnyCall,
    #[case] answer: Step,
) {
    let error = get_error(call, answer).await;
    assert!(matches!(error, ClientError::Decode(_)), "{error:?}");
    assert!(!error.is_retryable());
    assert!(error.outcome_is_unknown());
}
