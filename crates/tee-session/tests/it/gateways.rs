//! End-to-end tests of forward authentication. Real gateways with the example configurations in
//! `deploy/gateways` ask Tee Session whether a request may reach the app behind the gateway.

use std::{net::SocketAddr, time::Duration};

use nix::sys::signal::Signal;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_test_support::RedisProcess;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    gateway::{Gateway, GatewayProcess},
    guarded_app::{BROKEN, GuardedApp},
    service::{self, Service},
};

const READY_WITHIN: Duration = Duration::from_secs(5);

/// Setup of a test: a gateway, Tee Session, and the app behind the gateway.
struct Scenario {
    service: Service,
    app: GuardedApp,
    gateway: GatewayProcess,
    served_before: usize,
}

impl Scenario {
    async fn start(gateway: Gateway, flags: &[&str]) -> Self {
        let service = service::start(flags).await;
        service.until_ready(READY_WITHIN).await;
        let app = GuardedApp::start();
        let address: SocketAddr = service.base()["http://".len()..].parse().unwrap();
        let gateway = GatewayProcess::start(gateway, address, app.address).await;
        let served_before = app.served();
        Self {
            service,
            app,
            gateway,
            served_before,
        }
    }

    fn get(&self, token: &str) -> RequestBuilder {
        self.gateway.request(Method::GET, "/").bearer_auth(token)
    }

    /// Returns the number of requests that the app has received since the start of the test.
    fn number_of_requests_that_reached_the_app(&self) -> usize {
        self.app.served() - self.served_before
    }
}

/// Sends `request` to the gateway, asserts that the response status is 200, and returns the JSON
/// body. If the gateway passed the request on to the test app behind it, the body describes the
/// request as the app received it.
async fn send_expecting_200(request: RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

/// Returns all values of the header `name` in the request that the app received. `seen` is the JSON
/// description of this request. Treats `_` in a header name as `-`, because some apps do the same.
fn header_values<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    let fields = seen["headers"].as_array().unwrap().iter();
    let fields = fields.map(|field| (field[0].as_str().unwrap(), field[1].as_str().unwrap()));
    fields
        .filter(|(other, _)| other.replace('_', "-").eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

fn challenge_in(response: &Response) -> Option<&str> {
    response.headers().get("www-authenticate")?.to_str().ok()
}

#[rstest]
#[tokio::test]
async fn app_behind_a_gateway_receives_requests_with_session_headers_but_without_the_token(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    const BODY_BYTES: usize = 300_000;
    let scenario = Scenario::start(gateway, &[]).await;
    let token = scenario.service.log_in("a1b2c3").await;
    let session = scenario.service.request(Method::GET, "/v1/session");
    let session: Value = send_expecting_200(session.bearer_auth(&token)).await;
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        let mut request = scenario
            .gateway
            .request(method.clone(), "/members/7?page=2");
        request = request.bearer_auth(&token).header("x-other", "kept");
        let has_body = matches!(method, Method::POST | Method::PUT);
        if has_body {
            request = request.body(vec![b'x'; BODY_BYTES]);
        }
        let seen = send_expecting_200(request).await;
        assert_eq!(seen["method"], method.as_str());
        assert_eq!(seen["target"], "/members/7?page=2");
        assert_eq!(seen["body_bytes"], if has_body { BODY_BYTES } else { 0 });
        assert_eq!(header_values(&seen, "x-other"), ["kept"]);
        let id = session["session_id"].as_str().unwrap();
        assert_eq!(header_values(&seen, "x-session-id"), [id]);
        let base_url = session["base_url"].as_str().unwrap();
        assert_eq!(header_values(&seen, "x-session-base-url"), [base_url]);
        let [expires_at] = header_values(&seen, "x-session-expires-at")[..] else {
            panic!("{seen}");
        };
        let time = |text| OffsetDateTime::parse(text, &Rfc3339).unwrap();
        let before = session["expires_at"].as_str().unwrap();
        assert!(time(expires_at) >= time(before), "{seen}");
        for secret in [token.as_str(), "a1b2c3"] {
            assert!(!seen.to_string().contains(secret), "{seen}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn session_headers_forged_by_the_client_do_not_reach_the_app_behind_the_gateway(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let scenario = Scenario::start(gateway, &[]).await;
    let token = scenario.service.log_in("a1b2c3").await;
    let mut request = scenario.get(&token);
    for name in ["Id", "Expires-At", "Base-Url", "Subject", "Subject-Encoded"] {
        let spellings = [
            format!("X-Session-{name}"),
            format!("x-session-{name}"),
            format!("X_Session_{name}"),
            format!("X-Session_{name}"),
            format!("X_Session-{name}"),
            format!("X-Session-{}", name.replace('-', "_")),
        ];
        for spelling in spellings {
            request = request.header(spelling, "forged");
        }
    }
    let seen = send_expecting_200(request).await;
    assert!(!seen.to_string().contains("forged"), "{seen}");
    for name in ["x-session-id", "x-session-expires-at", "x-session-base-url"] {
        assert_eq!(header_values(&seen, name).len(), 1, "{seen}");
    }
    for name in ["x-session-subject", "x-session-subject-encoded"] {
        assert_eq!(header_values(&seen, name), [""; 0]);
    }
}

/// The service sends this subject in `X-Session-Subject-Encoded`, because it contains characters
/// that are not ASCII. A client must not be able to add `X-Session-Subject`, which the service
/// sends for other subjects.
#[rstest]
#[tokio::test]
async fn app_behind_a_gateway_receives_a_unicode_subject_percent_encoded(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let scenario = Scenario::start(gateway, &[]).await;
    let login = json!({
        "cookies": {"SESSIONID": "a1b2c3"},
        "base_url": "https://golf.example",
        "subject": "Jörg Müller",
    });
    let created = scenario
        .service
        .request(Method::POST, "/v1/sessions")
        .json(&login);
    let created: Value = created.send().await.unwrap().json().await.unwrap();
    let mut request = scenario.get(created["access_token"].as_str().unwrap());
    for name in ["X-Session-Subject", "X-Session-Subject-Encoded"] {
        request = request.header(name, "forged");
    }
    let seen = send_expecting_200(request).await;
    let encoded = header_values(&seen, "x-session-subject-encoded");
    assert_eq!(encoded, ["J%C3%B6rg%20M%C3%BCller"]);
    assert_eq!(header_values(&seen, "x-session-subject"), [""; 0]);
}

/// Uses a subject that contains every allowed character, because some of these characters have a
/// special meaning in gateways and apps.
#[rstest]
#[tokio::test]
async fn app_behind_a_gateway_receives_a_session_subject_with_special_characters_unchanged(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let scenario = Scenario::start(gateway, &[]).await;
    let subject: String = (b'!'..=b'~').map(char::from).collect();
    let login = json!({
        "cookies": {"SESSIONID": "a1b2c3"},
        "base_url": "https://golf.example",
        "subject": subject,
        "label": "telephone",
    });
    let created = scenario
        .service
        .request(Method::POST, "/v1/sessions")
        .json(&login);
    let created: Value = created.send().await.unwrap().json().await.unwrap();
    let request = scenario.get(created["access_token"].as_str().unwrap());
    let seen = send_expecting_200(request.header("X-Session-Subject", "forged")).await;
    assert_eq!(header_values(&seen, "x-session-subject"), [subject]);
    assert_eq!(header_values(&seen, "x-session-subject-encoded"), [""; 0]);
    let id = created["session_id"].as_str().unwrap();
    assert_eq!(header_values(&seen, "x-session-id"), [id]);
    assert!(!seen.to_string().contains("telephone"), "{seen}");
}

#[rstest]
#[tokio::test]
async fn request_without_valid_token_gets_401_with_www_authenticate_and_does_not_reach_the_app(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let scenario = Scenario::start(gateway, &[]).await;
    let missing = scenario.gateway.request(Method::POST, "/members").body("x");
    let missing = missing.send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        challenge_in(&missing),
        Some(r#"Bearer realm="tee-session""#)
    );

    let token = scenario.service.log_in("a1b2c3").await;
    scenario
        .service
        .status(Method::DELETE, "/v1/session", &token)
        .await;
    let invalid = scenario.get(&token).send().await.unwrap();
    assert_eq!(invalid.status(), StatusCode::UNAUTHORIZED);
    let challenge = challenge_in(&invalid).unwrap();
    assert!(
        challenge.contains(r#"error="invalid_token""#),
        "{challenge}"
    );
    assert_eq!(scenario.number_of_requests_that_reached_the_app(), 0);
}

/// Sends the CORS preflight request that a browser sends before a request from a page of another
/// origin.
#[rstest]
#[tokio::test]
async fn cors_preflight_without_a_token_gets_401_from_the_gateway_and_does_not_reach_the_app(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    const PAGE: &str = "https://app.golf.example";
    let scenario = Scenario::start(gateway, &["--cors-allowed-origins", PAGE]).await;
    let preflight = scenario.gateway.request(Method::OPTIONS, "/members");
    let preflight = preflight
        .header("origin", PAGE)
        .header("access-control-request-method", "GET");
    let refused = preflight.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(scenario.number_of_requests_that_reached_the_app(), 0);
}

#[rstest]
#[tokio::test]
async fn gateway_returns_status_400_for_a_malformed_authorization_header(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let scenario = Scenario::start(gateway, &[]).await;
    let request = scenario.gateway.request(Method::GET, "/");
    let malformed = request.header("authorization", "Bearer two words");
    let refused = malformed.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(scenario.number_of_requests_that_reached_the_app(), 0);
}

#[rstest]
#[tokio::test]
async fn gateway_returns_status_503_during_a_redis_outage_and_serves_requests_after_recovery(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let mut redis =
        RedisProcess::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let scenario = Scenario::start(gateway, &["--redis-url", &redis.url()]).await;
    let token = scenario.service.log_in("a1b2c3").await;
    redis.kill().await;
    let refused = scenario.get(&token).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(challenge_in(&refused), None);
    assert_eq!(scenario.number_of_requests_that_reached_the_app(), 0);
    redis.start_again().await;
    scenario.service.until_ready(READY_WITHIN).await;
    send_expecting_200(scenario.get(&token)).await;
}

#[rstest]
#[case::nginx(Gateway::Nginx, 503)]
#[case::caddy(Gateway::Caddy, 502)]
#[case::envoy(Gateway::Envoy, 503)]
#[tokio::test]
async fn gateway_rejects_requests_if_no_tee_session_instance_runs(
    #[case] gateway: Gateway,
    #[case] expected: u16,
) {
    let mut scenario = Scenario::start(gateway, &[]).await;
    let token = scenario.service.log_in("a1b2c3").await;
    scenario.service.signal(Signal::SIGKILL);
    scenario.service.ended(READY_WITHIN).await;
    let refused = scenario.get(&token).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), expected);
    assert_eq!(challenge_in(&refused), None);
    assert_eq!(scenario.number_of_requests_that_reached_the_app(), 0);
}

/// Uses a base URL with 1000 non-ASCII characters. In the header, each of these characters is
/// percent-encoded as six characters (`%C3%A4`).
#[rstest]
#[tokio::test]
async fn long_non_ascii_base_url_reaches_the_app_behind_the_gateway_percent_encoded(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let scenario = Scenario::start(gateway, &[]).await;
    let base_url = format!("https://golf.example/{}", "\u{e4}".repeat(1_000));
    let login = json!({"cookies": {"SESSIONID": "a1b2c3"}, "base_url": base_url});
    let created = scenario
        .service
        .request(Method::POST, "/v1/sessions")
        .json(&login);
    let created: Value = created.send().await.unwrap().json().await.unwrap();
    let seen = send_expecting_200(scenario.get(created["access_token"].as_str().unwrap())).await;
    let expected = format!("https://golf.example/{}", "%C3%A4".repeat(1_000));
    assert_eq!(header_values(&seen, "x-session-base-url"), [expected]);
}

/// Sends a request with a URL of 30 KiB, 30 KiB of cookies and a body of 100 KiB. The query
/// contains the parameter `access_token`, which belongs to the app and is not a token of Tee
/// Session.
#[rstest]
#[tokio::test]
async fn request_with_a_long_url_and_large_cookies_reaches_the_app_behind_the_gateway(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    const LEN: usize = 30 * 1_024;
    let scenario = Scenario::start(gateway, &[]).await;
    let token = scenario.service.log_in("a1b2c3").await;
    let target = format!("/members?access_token=of-the-app&q={}", "q".repeat(LEN));
    let cookies = format!("cart={}", "c".repeat(LEN));
    let request = scenario.gateway.request(Method::POST, &target);
    let request = request
        .bearer_auth(&token)
        .header("cookie", &cookies)
        .body("b".repeat(100 * 1_024));
    let seen = send_expecting_200(request).await;
    assert_eq!(seen["target"], target.as_str());
    assert_eq!(header_values(&seen, "cookie"), [cookies]);
    assert_eq!(seen["body_bytes"], 100 * 1_024);
    assert_eq!(header_values(&seen, "x-session-id").len(), 1);
}

#[rstest]
#[tokio::test]
async fn gateway_passes_on_an_error_response_of_the_app_unchanged(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let scenario = Scenario::start(gateway, &[]).await;
    let token = scenario.service.log_in("a1b2c3").await;
    let request = scenario
        .gateway
        .request(Method::GET, BROKEN)
        .bearer_auth(&token);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.text().await.unwrap(), "the app's own fault");
}
