//! Tests of the upstream gateway, which sends requests to the site of a session.

mod before_the_handler;
mod broken_answers;
mod client_leaves;
mod cookies;
mod isolation;
mod login_over;
mod panics;
mod pass_through;
mod refusals;
mod unsaved_cookies;

use std::{sync::Arc, time::Duration};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tee_session_api_server::{
    ApiSettings, UpstreamSettings,
    upstream_client::{
        AddressPolicy, ClientSettings, ExchangeLimitSettings,
        rustls::{ClientConfig, RootCertStore},
    },
};
use tee_session_test_support::TestSite;

use crate::test_app::TestApp;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Enables the metrics on a free port.
fn with_metrics(settings: &mut ApiSettings) {
    settings.metrics_address = Some("127.0.0.1:0".parse().unwrap());
}

/// Enables the gateway for sites on this machine.
pub(crate) fn gateway(settings: &mut ApiSettings) {
    let tls = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
    let loopback = "127.0.0.0/8".parse().unwrap();
    settings.allowed_base_hosts = "127.0.0.1".parse().unwrap();
    settings.upstream = Some(UpstreamSettings {
        tls: Arc::new(tls.with_no_client_auth()),
        addresses: AddressPolicy::default()
            .allow_http(true)
            .allow_networks(loopback),
        client: ClientSettings::default(),
        limits: ExchangeLimitSettings::default(),
        max_request_bytes: 1_048_576,
    });
}

/// Enables the gateway with settings that `change` modifies.
fn gateway_with(change: impl FnOnce(&mut UpstreamSettings)) -> impl FnOnce(&mut ApiSettings) {
    move |settings: &mut ApiSettings| {
        gateway(settings);
        change(settings.upstream.as_mut().unwrap());
    }
}

impl TestApp {
    /// Creates a session for `site` with the cookie `sid=1`, and returns its token.
    async fn log_in_to(&self, site: &TestSite) -> String {
        self.log_in_with(json!({"sid": "1"}), &site.url()).await
    }

    async fn log_in_with(&self, cookies: Value, base_url: &str) -> String {
        let body = json!({"cookies": cookies, "base_url": base_url});
        let response = self.post_session(&body).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        let body: Value = response.json().await.unwrap();
        body["access_token"].as_str().unwrap().to_owned()
    }

    /// Builds a request through the gateway to the path `path` of the session's site.
    fn upstream(&self, method: Method, token: &str, path: &str) -> RequestBuilder {
        let request = self.request(method, &format!("/v1/upstream{path}"));
        request.bearer_auth(token).timeout(Duration::from_secs(20))
    }

    /// Returns the cookies of the session.
    async fn cookies(&self, token: &str) -> Value {
        let session: Value = self.get_session(token).await.json().await.unwrap();
        session["cookies"].clone()
    }
}
