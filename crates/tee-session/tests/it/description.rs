//! Tests that the OpenAPI description is valid, and that the service conforms to the description.

use std::{path::Path, time::Duration};

use tee_session_test_support::RedisProcess;
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use crate::{
    python_packages::{self, SCRIPTS},
    service,
};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

/// Number of random test cases that schemathesis generates for each API operation, in addition to
/// the cases that it derives from the OpenAPI description.
const CASES: &str = "20";

const TESTED_WITHIN: Duration = Duration::from_secs(600);

#[tokio::test]
async fn openapi_json_is_valid_openapi_3_1_and_its_examples_match_its_schemas() {
    let mut python = python_packages::script("description.py");
    let count = python_packages::output_of(python.arg(COMMITTED)).await;
    let count: u32 = count.trim().parse().unwrap();
    assert!(count > 150, "{count} examples");
}

/// Runs all checks of schemathesis against the service. The rate limit for invalid tokens is off,
/// because schemathesis sends many invalid tokens, and expects 401 for each of them.
#[tokio::test]
async fn service_conforms_to_its_openapi_description() {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let flags = ["--redis-url", &url, "--service-clients", service::CLIENTS];
    let flags = [&flags[..], &["--invalid-token-limit", "0"]].concat();
    let service = service::start(&flags).await;
    service.until_ready(Duration::from_secs(5)).await;

    // Schemathesis writes files into its working directory.
    let directory = TempDir::new().unwrap();
    let mut schemathesis = Command::new(python_packages::program("schemathesis"));
    schemathesis
        .current_dir(directory.path())
        .kill_on_drop(true)
        .env("PYTHONPATH", SCRIPTS)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("BASE_URL", service.base())
        .env("CLIENT_ID", service::CLIENT_ID)
        .env("CLIENT_SECRET", service::CLIENT_SECRET)
        .arg("--config-file")
        .arg(Path::new(SCRIPTS).join("schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/openapi.json", service.base()))
        .args(["--checks", "all", "--max-examples", CASES])
        .args(["--generation-database", "none", "--no-color"]);
    let report = timeout(TESTED_WITHIN, python_packages::output_of(&mut schemathesis));
    let report = report.await.expect("schemathesis ends in time");
    assert!(report.contains("No issues found"), "{report}");
}
