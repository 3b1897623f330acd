//! Tests that the paths, ports, files and environment variables in the Kubernetes manifests agree
//! with the binary and with its container image.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_test_support::{RedisProcess, eventually, free_port};

use super::{
    manifests::{Manifests, read_repository_file},
    pod::Pod,
};
use crate::service::Service;

const WITHIN: Duration = Duration::from_secs(5);

const PROBES: [&str; 3] = ["startupProbe", "livenessProbe", "readinessProbe"];

/// Starts the service as the container of `pod` does, but on free ports.
async fn start_service(pod: &Pod<'_>) -> Service {
    Service::start(pod.command(), &["--metrics-port", "0"]).await
}

/// Sends the HTTP request that `container` defines for `probe`, such as `livenessProbe`, to the
/// service. Returns the response status.
async fn send_probe(service: &Service, container: &Value, probe: &str) -> StatusCode {
    let request = &container[probe]["httpGet"];
    assert_eq!(request["port"], "http");
    let path = request["path"].as_str().unwrap();
    let answer = service.request(Method::GET, path).send().await;
    answer.unwrap().status()
}

#[rstest]
#[tokio::test]
async fn every_environment_variable_of_the_kubernetes_pod_is_a_setting_with_an_effect(
    #[values("base", "production", "gateway")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let pod = Pod::new(&manifests, "redis://127.0.0.1:1");
    let settings = pod.settings().await;
    for name in pod.environment().into_keys() {
        let source = match name.as_str() {
            "TSA_CONFIG" => "config/production.toml".to_owned(),
            name => format!("environment variable {name}"),
        };
        assert!(settings.has_source(&source), "{name} is not a setting");
    }
    assert!(!settings.has_warning(), "{settings:?}");
}

#[rstest]
#[tokio::test]
async fn container_ports_in_the_kubernetes_manifests_match_the_port_settings(
    #[values("base", "production", "gateway")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let settings = Pod::new(&manifests, "redis://127.0.0.1:1").settings().await;
    let http = manifests.container_port(&json!("http"));
    assert_eq!(http, settings.number("api_port"));
    assert_eq!(
        manifests.container_port(&json!("metrics")),
        settings.number("metrics_port")
    );
    let dockerfile = read_repository_file("deploy/Dockerfile");
    assert!(dockerfile.contains(&format!("\nEXPOSE {http}\n")));
}

#[rstest]
#[tokio::test]
async fn every_kubernetes_probe_passes_when_redis_is_available(
    #[values("base", "production", "gateway")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let redis = RedisProcess::start().await;
    let pod = Pod::new(&manifests, &redis.url());
    let service = start_service(&pod).await;
    for name in PROBES {
        eventually(WITHIN, async || {
            send_probe(&service, manifests.container(), name).await == StatusCode::OK
        })
        .await;
    }
}

#[rstest]
#[tokio::test]
async fn kubernetes_probes_report_a_pod_without_redis_as_alive_but_not_ready(
    #[values("base", "production", "gateway")] overlay: &str,
) {
    let manifests = Manifests::render(overlay);
    let pod = Pod::new(&manifests, &format!("redis://127.0.0.1:{}", free_port()));
    let service = start_service(&pod).await;
    let statuses = PROBES.map(|name| send_probe(&service, manifests.container(), name));
    let [started, alive, ready] = statuses;
    assert_eq!(started.await, StatusCode::OK);
    assert_eq!(alive.await, StatusCode::OK);
    assert_eq!(ready.await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn metrics_are_served_at_the_path_that_the_kubernetes_service_monitor_names() {
    let manifests = Manifests::render("production");
    let redis = RedisProcess::start().await;
    let pod = Pod::new(&manifests, &redis.url());
    let service = start_service(&pod).await;
    service.until_ready(WITHIN).await;
    let started = &service.events("Starting up")[0];
    let address = started["metrics_address"].as_str().unwrap();
    let endpoint = &manifests.only_object("ServiceMonitor")["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], "metrics");
    let path = endpoint["path"].as_str().unwrap();
    let url = format!("http://{address}{path}");
    let answer = service.client.get(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let metrics = answer.text().await.unwrap();
    assert!(metrics.contains("tee_session_"), "{metrics}");
}

#[test]
fn image_and_user_in_the_base_kubernetes_manifests_match_the_image_build() {
    let base = Manifests::render("base");
    let image = base.container()["image"].as_str().unwrap();
    let built = read_repository_file("scripts/image");
    assert!(built.contains(&format!("tag=${{TAG:-{image}}}")), "{image}");
    let user = &base.pod()["securityContext"];
    let (user, group) = (&user["runAsUser"], &user["runAsGroup"]);
    let dockerfile = read_repository_file("deploy/Dockerfile");
    assert!(dockerfile.contains(&format!("\nUSER {user}:{group}\n")));
}

#[rstest]
fn image_tag_in_the_production_manifests_equals_the_package_version(
    #[values("production", "gateway")] overlay: &str,
) {
    let production = Manifests::render(overlay);
    let image = production.container()["image"].as_str().unwrap();
    let version = concat!("/tee-session:", env!("CARGO_PKG_VERSION"));
    assert!(image.ends_with(version), "{image}");
}

/// Checks that `deploy/kubernetes/README.md` contains commands that create each file of the
/// Kubernetes Secret.
#[test]
fn commands_in_the_readme_create_each_file_of_the_kubernetes_secret() {
    let readme = read_repository_file("deploy/kubernetes/README.md");
    let production = Manifests::render("production");
    let files = production.only_object("Secret")["data"]
        .as_object()
        .unwrap();
    assert_eq!(files.len(), 2);
    for file in files.keys() {
        assert!(readme.contains(&format!("--from-file={file}")), "{file}");
        assert!(readme.contains(&format!("> {file}")), "{file}");
    }
}
