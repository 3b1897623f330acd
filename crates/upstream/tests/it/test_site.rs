//! Helpers of the tests: they create clients and requests, and read answers.

use std::{sync::Arc, time::Duration};

use tee_session_upstream::{
    AddressPolicy, Client, ClientSettings, ExchangeLimitSettings, ExchangeLimits, Place, Site,
    SiteAnswer, SiteRequest, Target, UpstreamError,
    http::{HeaderMap, Method},
    rustls::{ClientConfig, RootCertStore},
};
use tokio::time::{sleep, timeout};

pub(crate) use tee_session_test_support::{Seen, TestSite};

/// Returns the [`Site`] of a test server.
pub(crate) fn site_of(server: &TestSite) -> Site {
    Site::of_url(&server.url()).unwrap()
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Returns a TLS configuration that trusts no certificate authority.
pub(crate) fn no_tls() -> Arc<ClientConfig> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
    Arc::new(config.with_no_client_auth())
}

/// Returns a policy that allows `http` sites on loopback addresses.
pub(crate) fn local_policy() -> AddressPolicy {
    let loopback = "127.0.0.0/8".parse().unwrap();
    AddressPolicy::default()
        .allow_http(true)
        .allow_networks(loopback)
}

pub(crate) fn client(settings: ClientSettings) -> Client {
    Client::new(no_tls(), local_policy(), settings)
}

pub(crate) async fn place(site: &Site) -> Place {
    let limits = ExchangeLimits::new(ExchangeLimitSettings::default());
    let admission = limits.admit().unwrap();
    limits.place(admission, site, "session").await.unwrap()
}

pub(crate) fn request(method: Method, target: &str) -> SiteRequest {
    SiteRequest::new(method, Target::parse(target).unwrap()).with_fields(HeaderMap::new())
}

pub(crate) async fn get(
    client: &Client,
    site: &Site,
    target: &str,
) -> Result<SiteAnswer, UpstreamError> {
    client
        .send(site, request(Method::GET, target), place(site).await)
        .await
        .map_err(|failed| failed.error)
}

/// Reads the whole body of an answer as text.
pub(crate) async fn text(
    mut answer: SiteAnswer,
) -> Result<String, tee_session_upstream::BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.body.chunk().await {
        body.extend_from_slice(&chunk?);
    }
    Ok(String::from_utf8(body).unwrap())
}

/// Waits until `condition` returns `true`. Panics after a time limit.
pub(crate) async fn eventually(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting)
        .await
        .expect("the condition never held");
}
