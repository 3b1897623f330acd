//! Every path, port, file and environment name in the manifests exists in the binary.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_test_support::{RedisProcess, eventually, free_port};

use super::{
    manifests::{Manifests, text_of},
    pod::Pod,
};
use crate::service::Service;

const WITHIN: Duration = Duration::from_secs(5);

const PROBES: [&str; 3] = ["startupProbe", "livenessProbe", "readinessProbe"];

/// On free ports.
async fn start(pod: &Pod<'_>) -> Service {
    Service::start(pod.command(), &["--metrics-port", "0"]).await
}

/// The status of what a probe asks for.
async fn probe(service: &Service, container: &Value, probe: &str) -> StatusCode {
    let asked = &container[probe]["httpGet"];
    assert_eq!(asked["port"], "http");
    let path = asked["path"].as_str().unwrap();
    let answer = service.request(Method::GET, path).send().await;
    answer.unwrap().status()
}

#[rstest]
#[tokio::test]
async fn every_variable_is_a_setting(#[values("base", "production")] overlay: &str) {
    let manifests = Manifests::render(overlay);
    let pod = Pod::new(&manifests, "redis://127.0.0.1:1");
    let settings = pod.settings().await;
    for name in pod.environment().into_keys() {
        let source = match name.as_str() {
            "TSA_CONFIG" => "config/production.toml".to_owned(),
            name => format!("environment variable {name}"),
        };
        assert!(settings.come_from(&source), "{name} is no setting");
    }
}

#[rstest]
#[tokio::test]
async fn ports_are_those_that_the_service_listens_on(
    #[values("base", "production")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let settings = Pod::new(&manifests, "redis://127.0.0.1:1").settings().await;
    let http = manifests.container_port(&json!("http"));
    assert_eq!(http, settings.number("api_port"));
    assert_eq!(
        manifests.container_port(&json!("metrics")),
        settings.number("metrics_port")
    );
    let dockerfile = text_of("deploy/Dockerfile");
    assert!(dockerfile.contains(&format!("\nEXPOSE {http}\n")));
}

#[rstest]
#[tokio::test]
async fn every_probe_passes_once_redis_is_there(#[values("base", "production")] overlay: &str) {
    let manifests = Manifests::render(overlay);
    let redis = RedisProcess::start().await;
    let pod = Pod::new(&manifests, &redis.url());
    let service = start(&pod).await;
    for name in PROBES {
        eventually(WITHIN, async || {
            probe(&service, manifests.container(), name).await == StatusCode::OK
        })
        .await;
    }
}

#[rstest]
#[tokio::test]
async fn before_redis_was_there_a_pod_is_alive_and_not_ready(
    #[values("base", "production")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let pod = Pod::new(&manifests, &format!("redis://127.0.0.1:{}", free_port()));
    let service = start(&pod).await;
    let statuses = PROBES.map(|name| probe(&service, manifests.container(), name));
    let [started, alive, ready] = statuses;
    assert_eq!(started.await, StatusCode::OK);
    assert_eq!(alive.await, StatusCode::OK);
    assert_eq!(ready.await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn metrics_are_where_prometheus_looks_for_them() {
    let manifests = Manifests::render("production");
    let redis = RedisProcess::start().await;
    let pod = Pod::new(&manifests, &redis.url());
    let service = start(&pod).await;
    service.until_ready(WITHIN).await;
    let started = &service.events("Starting up")[0];
    let address = started["metrics_address"].as_str().unwrap();
    let endpoint = &manifests.the("ServiceMonitor")["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], "metrics");
    let path = endpoint["path"].as_str().unwrap();
    let url = format!("http://{address}{path}");
    let answer = service.client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let metrics = answer.text().await.unwrap();
    assert!(metrics.contains("tee_session_"), "{metrics}");
}

#[test]
fn the_image_is_the_one_that_is_built() {
    let base = Manifests::render("base");
    let image = base.container()["image"].as_str().unwrap();
    let built = text_of("scripts/image");
    assert!(built.contains(&format!("tag=${{TAG:-{image}}}")), "{image}");
    let user = &base.pod()["securityContext"];
    let (user, group) = (&user["runAsUser"], &user["runAsGroup"]);
    let dockerfile = text_of("deploy/Dockerfile");
    assert!(dockerfile.contains(&format!("\nUSER {user}:{group}\n")));
}

#[test]
fn the_image_of_production_has_the_version_of_the_package() {
    let production = Manifests::render("production");
    let image = production.container()["image"].as_str().unwrap();
    let version = concat!("/tee-session:", env!("CARGO_PKG_VERSION"));
    assert!(image.ends_with(version), "{image}");
}

/// And so the README says how to make it.
#[test]
fn each_file_of_the_secret_is_made_by_the_commands_of_the_readme() {
    let readme = text_of("deploy/kubernetes/README.md");
    let production = Manifests::render("production");
    let files = production.the("Secret")["data"].as_object().unwrap();
    assert_eq!(files.len(), 2);
    for file in files.keys() {
        assert!(readme.contains(&format!("--from-file={file}")), "{file}");
        assert!(readme.contains(&format!("> {file}")), "{file}");
    }
}
