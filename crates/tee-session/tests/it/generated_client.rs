//! A client that is generated from the description of the API.

use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    python_packages::{self, PROGRAMS},
    service::{self, Service},
};

/// Generates it as the package `tee_session`. A call that cannot be generated is a warning.
async fn generate(service: &Service, folder: &TempDir) {
    let mut generator = Command::new(python_packages::program("openapi-python-client"));
    generator
        .kill_on_drop(true)
        .arg("generate")
        .args(["--url", &format!("{}/openapi.json", service.base())])
        .args(["--meta", "none", "--fail-on-warning"])
        .args([
            "--config",
            &format!("{PROGRAMS}/openapi_python_client.yaml"),
        ])
        .arg("--output-path")
        .arg(folder.path().join("tee_session"));
    let said = python_packages::output_of(&mut generator).await;
    assert!(!said.to_lowercase().contains("warning"), "{said}");
}

#[tokio::test]
async fn it_has_every_call_and_walks_through() {
    let service = service::start(&["--service-clients", service::CLIENTS]).await;
    let folder = TempDir::new().unwrap();
    generate(&service, &folder).await;
    let mut python = python_packages::script("generated_client.py");
    python
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(folder.path())
        .args([service.base(), service::CLIENT_ID, service::CLIENT_SECRET]);
    let walked = python_packages::output_of(&mut python).await;
    let calls = "get_health create_session get_session update_session get_session_ttl rotate_session \
                 authorize_get introspect list_sessions revoke_session revoke_sessions revoke \
                 delete_session";
    assert_eq!(walked.trim(), calls);
}
