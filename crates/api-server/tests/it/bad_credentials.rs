//! Tests of requests with invalid tokens, unknown paths and unsupported methods.

use reqwest::{Method, Response, StatusCode};
use rstest::rstest;

use crate::test_app::{Store, TestApp, assert_problem};

const CHALLENGE_WITHOUT_ERROR: &str = r#"Bearer realm="tee-session""#;
const UNKNOWN_TOKEN: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

#[rstest]
#[case::get("GET", "/v1/session")]
#[case::ttl("GET", "/v1/session/ttl")]
#[case::delete("DELETE", "/v1/session")]
#[tokio::test]
async fn missing_or_invalid_token_returns_401_and_malformed_bearer_header_returns_400(
    #[case] method: &str,
    #[case] path: &str,
) {
    let app = TestApp::spawn(Store::Redis).await;
    let long_token = &*format!("Bearer {}", "a".repeat(8_192));
    let rows: &[(Option<&str>, u16, &str)] = &[
        (None, 401, "missing_token"),
        (Some("Basic dXNlcjpwYXNz"), 401, "missing_token"),
        (Some("Negotiate abc"), 401, "missing_token"),
        (Some(UNKNOWN_TOKEN), 401, "missing_token"),
        (Some("Bearer"), 400, "invalid_request"),
        (Some("Bearer "), 400, "invalid_request"),
        (Some("Bearer a b"), 400, "invalid_request"),
        (Some("Bearer a,b"), 400, "invalid_request"),
        (Some("Bearer a\tb"), 400, "invalid_request"),
        (Some("Bearer token=\"x\""), 401, "invalid_token"),
        (Some("Bearer x"), 401, "invalid_token"),
        (
            Some("Bearer 1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED"),
            401,
            "invalid_token",
        ),
        (
            Some("Bearer {1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed}"),
            401,
            "invalid_token",
        ),
        (
            Some("Bearer urn:uuid:1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"),
            401,
            "invalid_token",
        ),
        (
            Some("Bearer 1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed"),
            401,
            "invalid_token",
        ),
        (
            Some("Bearer MWI5ZDZiY2QtYmJmZC00YjJkLTliNWQtYWI4ZGZiYmQ0YmVk"),
            401,
            "invalid_token",
        ),
        (Some(long_token), 401, "invalid_token"),
        (
            Some("Bearer 00000000-0000-0000-0000-000000000000"),
            401,
            "invalid_token",
        ),
        (
            Some("Bearer ffffffff-ffff-ffff-ffff-ffffffffffff"),
            401,
            "invalid_token",
        ),
        (Some("Bearer session:*"), 401, "invalid_token"),
        (
            Some("Bearer 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed%00"),
            401,
            "invalid_token",
        ),
        (
            Some("bearer 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"),
            401,
            "invalid_token",
        ),
        (
            Some("Bearer    1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"),
            401,
            "invalid_token",
        ),
    ];
    let mut invalid_token_answers = Vec::new();
    for (authorization, status, code) in rows {
        let mut request = app.request(method.parse().unwrap(), path);
        if let Some(authorization) = authorization {
            request = request.header("authorization", *authorization);
        }
        let response = request.send().await.unwrap();
        let challenge = response.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .to_owned();
        match *code {
            "missing_token" => assert_eq!(challenge, CHALLENGE_WITHOUT_ERROR),
            code => assert!(
                challenge.contains(&format!("error=\"{code}\"")),
                "{challenge}"
            ),
        }
        let problem = assert_problem(response, *status, code).await;
        if *code == "missing_token" {
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("with Bearer, a space"), "{detail}");
        }
        if *code == "invalid_token" {
            invalid_token_answers.push((challenge, problem));
        }
    }
    let first = &invalid_token_answers[0];
    assert!(
        invalid_token_answers.iter().all(|answer| answer == first),
        "the response is the same for all invalid tokens"
    );
}

#[tokio::test]
async fn request_with_a_token_only_in_the_query_or_body_returns_401() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    let response = app.get(&format!("/v1/session?access_token={token}")).await;
    assert_problem(response, 401, "missing_token").await;
    let form = app
        .request(Method::GET, "/v1/session")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("access_token={token}"));
    assert_problem(form.send().await.unwrap(), 401, "missing_token").await;
}

#[tokio::test]
async fn request_with_tokens_in_both_header_and_query_returns_400() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    for query in ["access_token=x", "a=b&access_token=", "access%5Ftoken=x"] {
        for path in ["/v1/session", "/v1/session/ttl"] {
            let request = app.request(Method::GET, &format!("{path}?{query}"));
            let response = request.bearer_auth(&token).send().await.unwrap();
            assert_problem(response, 400, "invalid_request").await;
        }
    }
    let request = app.request(Method::GET, "/v1/session?a=access_token");
    let response = request.bearer_auth(&token).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn repeated_authorization_header_returns_400() {
    let app = TestApp::spawn(Store::Memory).await;
    let token = app.log_in().await;
    for another in [&*token, UNKNOWN_TOKEN, "x"] {
        let repeated = app
            .request(Method::GET, "/v1/session")
            .header("authorization", format!("Bearer {token}"))
            .header("authorization", format!("Bearer {another}"));
        assert_problem(repeated.send().await.unwrap(), 400, "invalid_request").await;
    }
}

/// Returns the status, the header fields and the body of a response as one string. Leaves out
/// `Date` and `X-Request-Id`, which differ in every response.
async fn read_whole_response(response: Response) -> String {
    let status = response.status();
    let mut fields: Vec<_> = response
        .headers()
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|field| format!("{field:?}"))
        .collect();
    fields.sort();
    format!("{status} {fields:?} {}", response.text().await.unwrap())
}

#[tokio::test]
async fn malformed_expired_deleted_and_unknown_tokens_get_the_same_response() {
    let app = TestApp::builder().policy(1, None).spawn(Store::Redis).await;
    let other_app = TestApp::spawn(Store::Redis).await;
    let (expired, deleted) = (app.log_in().await, app.log_in().await);
    app.log_out(&deleted).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let of_another_redis = other_app.log_in().await;
    let unknown = read_whole_response(app.get_session(UNKNOWN_TOKEN).await).await;
    for token in ["malformed", &expired, &deleted, &of_another_redis] {
        assert_eq!(
            read_whole_response(app.get_session(token).await).await,
            unknown
        );
        assert_eq!(read_whole_response(app.get_ttl(token).await).await, unknown);
        assert_eq!(read_whole_response(app.log_out(token).await).await, unknown);
    }
}

#[rstest]
#[case::unknown_path("GET", "/nope", 404, None)]
#[case::root("GET", "/", 404, None)]
#[case::trailing_slash("GET", "/v1/session/", 404, None)]
#[case::double_slash("GET", "//v1/session", 404, None)]
#[case::encoded_slash("GET", "/v1%2fsession", 404, None)]
#[case::empty_session_id("DELETE", "/v1/sessions/", 404, None)]
#[case::path_below_session_id("DELETE", "/v1/sessions/k88fXCPKK0gU1YooURbm9Q/x", 404, None)]
#[case::patch_session_id(
    "PATCH",
    "/v1/sessions/k88fXCPKK0gU1YooURbm9Q",
    405,
    Some("GET, HEAD, DELETE")
)]
#[case::patch_sessions("PATCH", "/v1/sessions", 405, Some("GET, HEAD, POST, DELETE"))]
#[case::get_rotate("GET", "/v1/session/rotate", 405, Some("POST"))]
#[case::post_session("POST", "/v1/session", 405, Some("GET, HEAD, PATCH, DELETE"))]
#[case::delete_ttl("DELETE", "/v1/session/ttl", 405, Some("GET, HEAD"))]
#[case::post_health("POST", "/health", 405, Some("GET, HEAD, OPTIONS"))]
#[case::trace("TRACE", "/v1/session", 405, Some("GET, HEAD, PATCH, DELETE"))]
#[case::options("OPTIONS", "/v1/session", 405, Some("GET, HEAD, PATCH, DELETE"))]
#[case::unknown_method("BREW", "/v1/sessions", 405, Some("GET, HEAD, POST, DELETE"))]
#[tokio::test]
async fn unknown_path_returns_404_and_unsupported_method_returns_405(
    #[case] method: &str,
    #[case] path: &str,
    #[case] status: u16,
    #[case] allow: Option<&str>,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let response = app
        .request(method.parse().unwrap(), path)
        .send()
        .await
        .unwrap();
    let allowed = response
        .headers()
        .get("allow")
        .map(|allow| allow.to_str().unwrap().to_owned());
    assert_eq!(allowed.as_deref(), allow);
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-origin")
    );
    let code = if status == 404 {
        "not_found"
    } else {
        "method_not_allowed"
    };
    assert_problem(response, status, code).await;
}
