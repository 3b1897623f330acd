//! Test of a Python client that `openapi-python-client` generates from the OpenAPI description.

use std::{collections::BTreeSet, fs};

use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    python_packages::{self, SCRIPTS},
    service::{self, Service},
};

/// Operations that the Python script must call.
const CALLED_OPERATIONS: [&str; 15] = [
    "authorize",
    "createSession",
    "deleteSession",
    "getHealth",
    "getSession",
    "getSessionById",
    "getSessionTtl",
    "introspect",
    "listSessions",
    "mergeCookies",
    "revoke",
    "revokeSession",
    "revokeSessions",
    "rotateSession",
    "updateSession",
];

/// Generates a Python client from the OpenAPI description of `service`, as the package
/// `tee_session` in `directory`. Panics if the generator prints a warning, for example that it
/// cannot generate a call.
async fn generate(service: &Service, directory: &TempDir) {
    let mut generator = Command::new(python_packages::program("openapi-python-client"));
    generator
        .kill_on_drop(true)
        .arg("generate")
        .args(["--url", &format!("{}/openapi.json", service.base())])
        .args(["--meta", "none", "--fail-on-warning"])
        .args(["--config", &format!("{SCRIPTS}/openapi_python_client.yaml")])
        .arg("--output-path")
        .arg(directory.path().join("tee_session"));
    let output = python_packages::output_of(&mut generator).await;
    assert!(!output.to_lowercase().contains("warning"), "{output}");
}

/// Runs a Python script that uses the generated client. The script checks that the client has a
/// call for each operation of the description. The script does not have to make all these calls, so
/// a new route needs no change here.
#[tokio::test]
async fn python_client_generated_from_openapi_has_every_call_and_parses_the_responses() {
    let service = service::start(&["--service-clients", service::CLIENTS]).await;
    let directory = TempDir::new().unwrap();
    generate(&service, &directory).await;
    let description = service.json("/openapi.json").await;
    let paths = description["paths"].as_object().unwrap().values();
    let ids: BTreeSet<_> = paths
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    // The generator must create one type for all problems. With a type for each response, it would
    // create about ten files for each operation.
    let models = fs::read_dir(directory.path().join("tee_session/models")).unwrap();
    let count = models.count();
    assert!(count < 2 * ids.len(), "{count} files of types");
    let mut python = python_packages::script("generated_client.py");
    python
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(directory.path())
        .args([service.base(), service::CLIENT_ID, service::CLIENT_SECRET])
        .args(&ids);
    let printed = python_packages::output_of(&mut python).await;
    let called: BTreeSet<_> = printed.split_whitespace().collect();
    assert!(called.is_subset(&ids), "{called:?} of {ids:?}");
    let required = BTreeSet::from(CALLED_OPERATIONS);
    assert!(called.is_superset(&required), "{called:?}");
}
