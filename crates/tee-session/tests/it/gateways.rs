//! Forward auth end to end: the gateways themselves, with the examples of `deploy/gateways`.

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

/// A client, a gateway, Tee Session, and the app.
struct Setting {
    service: Service,
    app: GuardedApp,
    gateway: GatewayProcess,
    served_before: usize,
}

impl Setting {
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

    /// Nothing may reach the app that was not let through.
    fn assert_app_was_not_asked(&self) {
        assert_eq!(self.app.served(), self.served_before);
    }
}

/// What the app saw of a request that reached it.
async fn seen(request: RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

/// Every value of the fields with this name, as an app may read it that takes `_` for `-`.
fn values<'a>(seen: &'a Value, name: &str) -> Vec<&'a str> {
    let fields = seen["headers"].as_array().unwrap().iter();
    let fields = fields.map(|field| (field[0].as_str().unwrap(), field[1].as_str().unwrap()));
    fields
        .filter(|(other, _)| other.replace('_', "-").eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

fn challenge(response: &Response) -> Option<&str> {
    response.headers().get("www-authenticate")?.to_str().ok()
}

#[rstest]
#[tokio::test]
async fn the_app_sees_the_request_and_the_session_and_no_token(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    const BODY_BYTES: usize = 300_000;
    let setting = Setting::start(gateway, &[]).await;
    let token = setting.service.log_in("a1b2c3").await;
    let session = setting.service.request(Method::GET, "/v1/session");
    let session: Value = seen(session.bearer_auth(&token)).await;
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        let mut request = setting.gateway.request(method.clone(), "/members/7?page=2");
        request = request.bearer_auth(&token).header("x-other", "kept");
        let has_body = matches!(method, Method::POST | Method::PUT);
        if has_body {
            request = request.body(vec![b'x'; BODY_BYTES]);
        }
        let seen = seen(request).await;
        assert_eq!(seen["method"], method.as_str());
        assert_eq!(seen["target"], "/members/7?page=2");
        assert_eq!(seen["body_bytes"], if has_body { BODY_BYTES } else { 0 });
        assert_eq!(values(&seen, "x-other"), ["kept"]);
        let id = session["session_id"].as_str().unwrap();
        assert_eq!(values(&seen, "x-session-id"), [id]);
        let base_url = session["base_url"].as_str().unwrap();
        assert_eq!(values(&seen, "x-session-base-url"), [base_url]);
        let [expires_at] = values(&seen, "x-session-expires-at")[..] else {
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
async fn what_a_client_sends_under_the_names_of_the_session_does_not_reach_the_app(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let setting = Setting::start(gateway, &[]).await;
    let token = setting.service.log_in("a1b2c3").await;
    let mut request = setting.get(&token);
    for name in ["Id", "Expires-At", "Base-Url", "Subject"] {
        let spellings = [
            format!("X-Session-{name}"),
            format!("x-session-{name}"),
            format!("X_Session_{name}"),
            format!("X-Session_{name}"),
            format!("X_Session-{name}"),
        ];
        for spelling in spellings {
            request = request.header(spelling, "forged");
        }
    }
    let seen = seen(request).await;
    assert!(!seen.to_string().contains("forged"), "{seen}");
    for name in ["x-session-id", "x-session-expires-at", "x-session-base-url"] {
        assert_eq!(values(&seen, name).len(), 1, "{seen}");
    }
    assert_eq!(values(&seen, "x-session-subject"), [""; 0]);
}

/// With a subject of every character that one may have, among them those that some apps and gateways
/// take for something else.
#[rstest]
#[tokio::test]
async fn the_app_sees_whose_session_it_is(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let setting = Setting::start(gateway, &[]).await;
    let subject: String = (b'!'..=b'~').map(char::from).collect();
    let login = json!({
        "cookies": {"SESSIONID": "a1b2c3"},
        "base_url": "https://golf.example",
        "subject": subject,
        "label": "telephone",
    });
    let created = setting
        .service
        .request(Method::POST, "/v1/sessions")
        .json(&login);
    let created: Value = created.send().await.unwrap().json().await.unwrap();
    let request = setting.get(created["access_token"].as_str().unwrap());
    let seen = seen(request.header("X-Session-Subject", "forged")).await;
    assert_eq!(values(&seen, "x-session-subject"), [subject]);
    let id = created["session_id"].as_str().unwrap();
    assert_eq!(values(&seen, "x-session-id"), [id]);
    assert!(!seen.to_string().contains("telephone"), "{seen}");
}

#[rstest]
#[tokio::test]
async fn a_401_keeps_its_challenge_and_the_app_is_not_asked(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let setting = Setting::start(gateway, &[]).await;
    let missing = setting.gateway.request(Method::POST, "/members").body("x");
    let missing = missing.send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(challenge(&missing), Some(r#"Bearer realm="tee-session""#));

    let token = setting.service.log_in("a1b2c3").await;
    setting
        .service
        .status(Method::DELETE, "/v1/session", &token)
        .await;
    let invalid = setting.get(&token).send().await.unwrap();
    assert_eq!(invalid.status(), StatusCode::UNAUTHORIZED);
    let challenge = challenge(&invalid).unwrap();
    assert!(
        challenge.contains(r#"error="invalid_token""#),
        "{challenge}"
    );
    setting.assert_app_was_not_asked();
}

/// As pages of other sites make a browser send it.
#[rstest]
#[tokio::test]
async fn a_preflight_is_not_let_through_without_a_token(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    const PAGE: &str = "https://app.golf.example";
    let setting = Setting::start(gateway, &["--cors-allowed-origins", PAGE]).await;
    let preflight = setting.gateway.request(Method::OPTIONS, "/members");
    let preflight = preflight
        .header("origin", PAGE)
        .header("access-control-request-method", "GET");
    let refused = preflight.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    setting.assert_app_was_not_asked();
}

#[rstest]
#[tokio::test]
async fn a_400_stays_a_400(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let setting = Setting::start(gateway, &[]).await;
    let request = setting.gateway.request(Method::GET, "/");
    let malformed = request.header("authorization", "Bearer two words");
    let refused = malformed.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    setting.assert_app_was_not_asked();
}

#[rstest]
#[tokio::test]
async fn a_503_stays_a_503_and_ends_with_the_outage(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let mut redis =
        RedisProcess::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let setting = Setting::start(gateway, &["--redis-url", &redis.url()]).await;
    let token = setting.service.log_in("a1b2c3").await;
    redis.kill().await;
    let refused = setting.get(&token).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(challenge(&refused), None);
    setting.assert_app_was_not_asked();
    redis.start_again().await;
    setting.service.until_ready(READY_WITHIN).await;
    seen(setting.get(&token)).await;
}

#[rstest]
#[case::nginx(Gateway::Nginx, 503)]
#[case::caddy(Gateway::Caddy, 502)]
#[case::envoy(Gateway::Envoy, 503)]
#[tokio::test]
async fn without_an_instance_nothing_is_let_through(
    #[case] gateway: Gateway,
    #[case] expected: u16,
) {
    let mut setting = Setting::start(gateway, &[]).await;
    let token = setting.service.log_in("a1b2c3").await;
    setting.service.signal(Signal::SIGKILL);
    setting.service.ended(READY_WITHIN).await;
    let refused = setting.get(&token).send().await.unwrap();
    assert_eq!(refused.status().as_u16(), expected);
    assert_eq!(challenge(&refused), None);
    setting.assert_app_was_not_asked();
}

/// In ASCII it is three times as long.
#[rstest]
#[tokio::test]
async fn the_longest_base_url_gets_through(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let setting = Setting::start(gateway, &[]).await;
    let base_url = format!("https://golf.example/{}", "\u{e4}".repeat(1_000));
    let login = json!({"cookies": {"SESSIONID": "a1b2c3"}, "base_url": base_url});
    let created = setting
        .service
        .request(Method::POST, "/v1/sessions")
        .json(&login);
    let created: Value = created.send().await.unwrap().json().await.unwrap();
    let seen = seen(setting.get(created["access_token"].as_str().unwrap())).await;
    let expected = format!("https://golf.example/{}", "%C3%A4".repeat(1_000));
    assert_eq!(values(&seen, "x-session-base-url"), [expected]);
}

#[rstest]
#[tokio::test]
async fn a_fault_of_the_app_is_passed_on_as_it_is(
    #[values(Gateway::Nginx, Gateway::Caddy, Gateway::Envoy)] gateway: Gateway,
) {
    let setting = Setting::start(gateway, &[]).await;
    let token = setting.service.log_in("a1b2c3").await;
    let request = setting
        .gateway
        .request(Method::GET, BROKEN)
        .bearer_auth(&token);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.text().await.unwrap(), "the app's own fault");
}
