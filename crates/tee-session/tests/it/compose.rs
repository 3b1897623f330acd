//! Tests of `deploy/compose.yaml`, `deploy/compose.gateway.yaml` and their nginx configuration. The
//! tests run no containers. `scripts/compose-test` runs the containers.

use std::{collections::BTreeSet, fs, path::Path, process::Stdio};

use rstest::rstest;
use serde_json::Value;
use tee_session_test_support::TestAuthority;
use tokio::process::Command;

use crate::{
    gateway::path_of_installed,
    service::{CLIENTS, assert_no_warning, binary},
};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(REPOSITORY).join(file)).unwrap()
}

fn read_yaml(file: &str) -> Value {
    serde_saphyr::from_str(&read(file)).unwrap()
}

fn read_toml(file: &str) -> toml::Table {
    read(file).parse().unwrap()
}

fn seconds(value: &Value) -> i64 {
    let text = value.as_str().unwrap();
    text.strip_suffix('s').unwrap().parse().unwrap()
}

fn names(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// Returns the block of `nginx.conf` that begins with `head`, up to its closing brace.
fn block<'a>(nginx: &'a str, head: &str) -> &'a str {
    let (_, block) = nginx.split_once(head).unwrap();
    block.split("\n        }").next().unwrap()
}

#[test]
fn only_the_compose_service_gateway_can_connect_to_the_internet() {
    let (base, gateway) = (
        read_yaml("deploy/compose.yaml"),
        read_yaml("deploy/compose.gateway.yaml"),
    );
    for instance in ["api-1", "api-2"] {
        let service = &base["services"][instance];
        assert_eq!(names(&service["networks"]), ["instances", "store"].into());
        assert!(!names(&service["environment"]).contains("TSA_UPSTREAM_GATEWAY"));
    }
    for network in ["instances", "store"] {
        assert_eq!(base["networks"][network]["internal"], true);
    }
    assert_eq!(names(&gateway["services"]), ["gateway", "nginx"].into());
    assert_eq!(
        names(&gateway["services"]["nginx"]),
        ["stop_grace_period"].into()
    );
    let service = &gateway["services"]["gateway"];
    assert_eq!(service["extends"]["service"], "api-1");
    assert_eq!(service["environment"]["TSA_UPSTREAM_GATEWAY"], "true");
    let networks = ["instances", "sites", "store"];
    assert_eq!(names(&service["networks"]), networks.into());
    assert_eq!(names(&gateway["networks"]), ["sites"].into());
    // The hosts entry `gateway` of the nginx container must be the address that compose gives to
    // the gateway.
    let address = service["networks"]["instances"]["ipv4_address"]
        .as_str()
        .unwrap();
    let hosts = base["services"]["nginx"]["extra_hosts"].as_array().unwrap();
    assert!(hosts.contains(&format!("gateway:{address}").into()));
}

/// Checks that each environment variable of the compose services is a setting that has an effect.
#[rstest]
#[case::instance(&["deploy/compose.yaml"], "api-1")]
#[case::gateway(&["deploy/compose.yaml", "deploy/compose.gateway.yaml"], "gateway")]
#[tokio::test]
async fn settings_of_a_compose_service_cause_no_warning(
    #[case] files: &[&str],
    #[case] name: &str,
) {
    let secrets = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        let file = secrets.path().join(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let mut command = binary();
    for file in files {
        let services = read_yaml(file)["services"].take();
        // The service of the second file extends the service of the first file.
        let service = services.get(name).unwrap_or(&services["api-1"]);
        for (variable, value) in service["environment"].as_object().unwrap() {
            let value = match (variable.as_str(), value.as_str()) {
                ("TSA_CONFIG", _) => format!("{REPOSITORY}/config/production.toml"),
                ("TSA_REDIS_URL_FILE", _) => secret("redis-url", "redis://127.0.0.1"),
                ("TSA_SERVICE_CLIENTS_FILE", _) => secret("service-clients", CLIENTS),
                ("TSA_TRUSTED_PROXIES", _) => "10.213.77.2".to_owned(),
                ("TSA_ALLOWED_BASE_HOSTS", _) => "golf.example".to_owned(),
                (_, Some(text)) => text.to_owned(),
                (_, None) => value.to_string(),
            };
            command.env(variable, value);
        }
    }
    // The gateway requires certificate authorities, which this machine may lack.
    let authority = TestAuthority::new();
    command.env("SSL_CERT_FILE", authority.ca_file());
    assert_no_warning(&mut command).await;
}

#[test]
fn stop_grace_period_of_compose_services_covers_requests_to_sites() {
    let gateway = read_yaml("deploy/compose.gateway.yaml");
    let defaults = read_toml("config/default.toml");
    let production = read_toml("config/production.toml");
    let service = &gateway["services"]["gateway"];
    let timeout = service["environment"]["TSA_SHUTDOWN_TIMEOUT"]
        .as_i64()
        .unwrap();
    let response = defaults["upstream_response_timeout_ms"]
        .as_integer()
        .unwrap();
    assert!(1_000 * timeout > response);
    let delay = production["shutdown_delay"].as_integer().unwrap();
    assert!(seconds(&service["stop_grace_period"]) > delay + timeout);
    let nginx = read("deploy/compose/nginx.conf");
    let location = block(&nginx, "location /v1/upstream/ {");
    let of_nginx = &gateway["services"]["nginx"]["stop_grace_period"];
    let read_timeout = format!("proxy_read_timeout {};", of_nginx.as_str().unwrap());
    assert!(location.contains(&read_timeout), "{location}");
    assert!(1_000 * seconds(of_nginx) > response);
}

#[test]
fn nginx_of_compose_neither_repeats_requests_to_sites_nor_logs_their_paths() {
    let nginx = read("deploy/compose/nginx.conf");
    let [location, problem] = [
        block(&nginx, "location /v1/upstream/ {"),
        block(&nginx, "location @gateway_away {"),
    ];
    assert!(location.contains("proxy_pass http://gateway;"));
    assert!(location.contains("proxy_next_upstream off;"));
    assert!(problem.contains(r#""outcome":"unknown""#));
    for block in [location, problem] {
        assert!(block.contains("access_log /dev/stdout gateway;"), "{block}");
    }
    let (_, format) = nginx.split_once("log_format gateway ").unwrap();
    let format = format.split(';').next().unwrap();
    for variable in ["uri", "request ", "request'", "args", "http_"] {
        let variable = format!("${variable}");
        assert!(!format.contains(&variable), "{variable} in {format}");
    }
}

#[tokio::test]
async fn nginx_accepts_the_configuration_of_compose() {
    let directory = tempfile::tempdir().unwrap();
    let folder = format!("{}/", directory.path().display());
    let original = read("deploy/compose/nginx.conf");
    // nginx writes its files to the folder of the pid file. The test replaces this folder by a
    // temporary folder.
    let pid = original.lines().find_map(|line| line.strip_prefix("pid "));
    let of_container = pid.unwrap().strip_suffix("nginx.pid;").unwrap();
    let mut configuration = original.replace(of_container, &folder);
    // nginx resolves host names while it reads the configuration, so the names must exist.
    for host in ["api-1:", "api-2:", "gateway:"] {
        configuration = configuration.replace(&format!("server {host}"), "server 127.0.0.1:");
    }
    let file = directory.path().join("nginx.conf");
    fs::write(&file, configuration).unwrap();
    let mut nginx = Command::new(path_of_installed("nginx", "/usr/sbin/nginx"));
    nginx
        .args(["-e", "stderr", "-t", "-p"])
        .arg(directory.path());
    let output = nginx
        .arg("-c")
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .await;
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
