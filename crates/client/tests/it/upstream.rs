//! Tests of requests to the site of a session.

use rstest::rstest;
use serde_json::json;
use tee_session_client::{ClientError, Outcome, http::Method};

use crate::{
    any_call::{create_client, parse_token},
    scripted_server::{ScriptedServer, Step},
};

const VIA: (&str, &str) = ("Via", "1.1 tee-session");

#[rstest]
#[case::found(200)]
#[case::not_found(404)]
#[case::broken(503)]
#[tokio::test]
async fn answer_of_the_site_is_returned_for_every_status(#[case] status: u16) {
    let server = ScriptedServer::start([Step::answer(status, &[VIA], "<html>")]).await;
    let client = create_client(&server);
    let token = parse_token();
    let request = client.session(&token).upstream(Method::POST, "/a%2Fb?x=1");
    let answer = request.body("name=value").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), status);
    assert!(answer.cookies_are_kept());
    assert_eq!(answer.text().await.unwrap(), "<html>");
    let received = server.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].line, "POST /v1/upstream/a%2Fb?x=1");
    assert_eq!(received[0].body, "name=value");
}

#[rstest]
#[case::alone("1.1 tee-session")]
#[case::joined_by_a_proxy("1.1 tee-session, 1.1 cdn")]
#[case::joined_behind_a_proxy_of_the_site("1.1 varnish,1.1 tee-session")]
#[tokio::test]
async fn answer_of_the_site_is_recognised_by_its_via_header_even_if_proxies_append_to_it(
    #[case] via: &str,
) {
    let server = ScriptedServer::start([Step::answer(404, &[("Via", via)], "<html>")]).await;
    let (client, token) = (create_client(&server), parse_token());
    let request = client.session(&token).upstream(Method::GET, "/");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 404);
}

#[rstest]
#[case::not_sent(502, "upstream_unreachable", "not_sent", Outcome::NotSent)]
#[case::unknown(502, "upstream_failed", "unknown", Outcome::Unknown)]
#[case::timeout(504, "upstream_timeout", "unknown", Outcome::Unknown)]
#[case::busy(503, "upstream_busy", "not_sent", Outcome::NotSent)]
#[tokio::test]
async fn error_shows_whether_the_request_may_have_reached_the_site(
    #[case] status: u16,
    #[case] code: &str,
    #[case] outcome: &str,
    #[case] expected: Outcome,
) {
    let body = json!({"code": code, "detail": "A sentence", "outcome": outcome}).to_string();
    let fields = [("Content-Type", "application/problem+json")];
    let server = ScriptedServer::start([Step::answer(status, &fields, &body)]).await;
    let client = create_client(&server);
    let token = parse_token();
    let request = client.session(&token).upstream(Method::GET, "/book");
    let error = request.send().await.unwrap_err();
    assert_eq!(error.problem().unwrap().code.as_str(), code);
    assert_eq!(error.problem().unwrap().outcome, Some(expected));
    assert_eq!(error.outcome_is_unknown(), expected == Outcome::Unknown);
    assert_eq!(server.received().len(), 1, "nothing is repeated");
}

#[tokio::test]
async fn request_with_a_lost_answer_has_an_unknown_outcome_and_is_not_repeated() {
    let server = ScriptedServer::start([Step::HangUp]).await;
    let client = create_client(&server);
    let token = parse_token();
    let request = client.session(&token).upstream(Method::GET, "/book");
    let error = request.send().await.unwrap_err();
    assert!(error.outcome_is_unknown());
    assert_eq!(server.received().len(), 1);
}

#[rstest]
#[case::within_the_site("/v1/upstream/list?day=7#top", Some("/list?day=7"))]
#[case::another_path("/docs", None)]
#[tokio::test]
async fn redirect_returns_path_and_query_only_for_a_redirect_within_the_site(
    #[case] location: &str,
    #[case] expected: Option<&str>,
) {
    let step = Step::answer(302, &[VIA, ("Location", location)], "");
    let server = ScriptedServer::start([step]).await;
    let client = create_client(&server);
    let token = parse_token();
    let answer = client
        .session(&token)
        .upstream(Method::GET, "/")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.redirect(), expected);
    assert_eq!(server.received().len(), 1);
}

#[rstest]
#[case::dot_segments("/../sessions")]
#[case::encoded_dot_segments("/%2e%2e/sessions")]
#[case::relative("list")]
#[case::space("/a b")]
#[case::fragment("/a#b")]
#[tokio::test]
async fn request_with_an_invalid_path_is_not_sent(#[case] path: &str) {
    let server = ScriptedServer::start([Step::answer(200, &[VIA], "")]).await;
    let client = create_client(&server);
    let token = parse_token();
    let error = client
        .session(&token)
        .upstream(Method::GET, path)
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    assert_eq!(server.received().len(), 0);
}
