//! The description of the API: held to its standard, and the service to the description.

use std::{path::Path, time::Duration};

use tee_session_test_support::RedisProcess;
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use crate::{
    python_packages::{self, PROGRAMS},
    service,
};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

/// Cases that are made up for each call, beside those that follow from its description.
const CASES: &str = "40";

const TESTED_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test]
async fn it_is_openapi_3_1_and_its_examples_fit_its_schemas() {
    let mut python = python_packages::script("description.py");
    let count = python_packages::output_of(python.arg(COMMITTED)).await;
    let count: u32 = count.trim().parse().unwrap();
    assert!(count > 200, "{count} examples");
}

/// All checks of schemathesis. Guesses at tokens, of which it makes many, are not limited, so that each
/// is told what it is.
#[tokio::test]
async fn the_service_answers_as_it_is_described() {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let flags = ["--redis-url", &url, "--service-clients", service::CLIENTS];
    let flags = [&flags[..], &["--invalid-token-limit", "0"]].concat();
    let service = service::start(&flags).await;
    service.until_ready(Duration::from_secs(5)).await;

    // It leaves things behind where it runs.
    let folder = TempDir::new().unwrap();
    let mut schemathesis = Command::new(python_packages::program("schemathesis"));
    schemathesis
        .current_dir(folder.path())
        .kill_on_drop(true)
        .env("PYTHONPATH", PROGRAMS)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("BASE_URL", service.base())
        .env("CLIENT_ID", service::CLIENT_ID)
        .env("CLIENT_SECRET", service::CLIENT_SECRET)
        .arg("--config-file")
        .arg(Path::new(PROGRAMS).join("schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/openapi.json", service.base()))
        .args(["--checks", "all", "--max-examples", CASES])
        .args(["--generation-database", "none", "--no-color"]);
    let report = timeout(TESTED_WITHIN, python_packages::output_of(&mut schemathesis));
    let report = report.await.expect("it ends in time");
    assert!(report.contains("No issues found"), "{report}");
}
