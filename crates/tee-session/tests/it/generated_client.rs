//! Test of a Python client that `openapi-python-client` generates from the OpenAPI description.

use std::{collections::BTreeSet, fs};

use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    python_packages::{self, SCRIPTS},
    service::{self, Service},
};

/// Ids of the operations that the Python client does not call in the test. These are health probes,
/// the OpenAPI description, the page that shows the description, and requests to the site of a
/// session. Programs send requests to the site with an ordinary HTTP client.
const UNCALLED_OPERATIONS: [&str; 5] = [
    "getLive",
    "getReady",
    "getDescription",
    "getPage",
    "callSite",
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

#[tokio::test]
async fn python_client_generated_from_openapi_makes_every_call_and_parses_every_response() {
    let service = service::start(&["--service-clients", service::CLIENTS]).await;
    let directory = TempDir::new().unwrap();
    generate(&service, &directory).await;
    // The generator must create one type for all problems. With a type for each response, it would
    // create hundreds of files.
    let models = fs::read_dir(directory.path().join("tee_session/models")).unwrap();
    let count = models.count();
    assert!(count < 40, "{count} files of types");
    let mut python = python_packages::script("generated_client.py");
    python
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(directory.path())
        .args([service.base(), service::CLIENT_ID, service::CLIENT_SECRET]);
    let walked = python_packages::output_of(&mut python).await;
    let called: BTreeSet<_> = walked.split_whitespace().map(str::to_owned).collect();
    let description = service.json("/openapi.json").await;
    let paths = description["paths"].as_object().unwrap().values();
    let ids = paths
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .filter(|id| !UNCALLED_OPERATIONS.contains(id));
    assert_eq!(called, ids.map(to_snake_case).collect());
}

fn to_snake_case(camel_case: &str) -> String {
    let letters = camel_case.chars().flat_map(|letter| {
        let separator = letter.is_ascii_uppercase().then_some('_');
        separator.into_iter().chain([letter.to_ascii_lowercase()])
    });
    letters.collect()
}
