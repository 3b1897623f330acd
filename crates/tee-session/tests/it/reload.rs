//! Tests that the service reads a changed file of service clients without a restart.

use std::{fs, path::Path, time::Duration};

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::json;
use tee_session_test_support::eventually;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    metrics::scrape,
    service::{self, CLIENT_ID, CLIENT_SECRET, CLIENTS, Service},
};

const READ_WITHIN: Duration = Duration::from_secs(10);

const EVENT: &str = "Service clients not read again: the previous ones stay in use";

/// SHA-256 hash of the client secret `another` in hexadecimal. This is the output of
/// `printf another | sha256sum`.
const ANOTHER: &str = "ae448ac86c4e8e4dec645729708ef41873ae79c6dff84eff73360989487f08e5";

/// Starts the service with service clients that are read from a file. Returns the service, and the
/// directory that contains this file. The name of the file is `clients`.
async fn start() -> (Service, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients");
    fs::write(&file, CLIENTS).unwrap();
    let file = file.to_str().unwrap();
    let service = service::start(&["--service-clients-file", file, "--metrics-port", "0"]).await;
    (service, folder)
}

async fn create(service: &Service, secret: &str) -> StatusCode {
    let request = service.request(Method::POST, "/v1/sessions");
    let request = request.basic_auth(CLIENT_ID, Some(secret));
    let body = json!({"cookies": {"SESSIONID": "a"}, "base_url": "https://golf.example"});
    request.json(&body).send().await.unwrap().status()
}

fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

#[tokio::test]
async fn changed_secret_in_the_service_clients_file_is_used_without_a_restart() {
    let (service, folder) = start().await;
    assert_eq!(create(&service, CLIENT_SECRET).await, StatusCode::CREATED);
    let clients = json!([{"id": CLIENT_ID, "secret_sha256": ANOTHER, "scopes": ["create"]}]);
    replace(&folder.path().join("clients"), &clients.to_string());
    eventually(READ_WITHIN, async || {
        create(&service, "another").await == StatusCode::CREATED
    })
    .await;
    assert_eq!(
        create(&service, CLIENT_SECRET).await,
        StatusCode::UNAUTHORIZED
    );
    eventually(READ_WITHIN, async || {
        service.events("Service clients read again").len() == 1
    })
    .await;
}

#[rstest]
#[case::no_clients(Some("[]"), "the file names no client")]
#[case::empty(Some("\n"), "the file names no client")]
#[case::half_written(Some("[{\"id\": \"resource-ser"), "must be a list of clients")]
#[case::empty_secret(
    Some(r#"[{"id": "a", "secret_sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "scopes": ["create"]}]"#),
    "client 1: secret_sha256 is the SHA-256 of the empty text"
)]
#[case::missing(None, "No such file")]
#[tokio::test]
async fn invalid_or_missing_service_clients_file_is_logged_once_and_previous_clients_stay_valid(
    #[case] text: Option<&str>,
    #[case] reason: &str,
) {
    let (service, folder) = start().await;
    let file = folder.path().join("clients");
    match text {
        Some(text) => replace(&file, text),
        None => fs::remove_file(&file).unwrap(),
    }
    eventually(READ_WITHIN, async || !service.events(EVENT).is_empty()).await;
    assert_eq!(create(&service, CLIENT_SECRET).await, StatusCode::CREATED);
    assert_eq!(create(&service, "wrong").await, StatusCode::UNAUTHORIZED);
    let without = service.request(Method::GET, "/v1/sessions?subject=a");
    let without = without.send().await.unwrap();
    assert_eq!(without.status(), StatusCode::UNAUTHORIZED);
    let events = service.events(EVENT);
    assert_eq!(events.len(), 1);
    let logged = events[0]["reason"].as_str().unwrap();
    assert!(logged.contains(reason), "{logged}");

    let in_use = async |value: u8| {
        let line =
            format!("tee_session_last_reload_successful{{file=\"service_clients_file\"}} {value}");
        let scraped = scrape(&service).await;
        scraped.lines().any(|found| found == line)
    };
    assert!(in_use(0).await);
    replace(&file, CLIENTS);
    eventually(READ_WITHIN, async || in_use(1).await).await;
}

/// Checks that a named pipe is not read. A read would block until another program writes to the
/// pipe, and would delay the stop of the service.
#[tokio::test]
async fn service_clients_file_that_is_a_named_pipe_is_reported_and_does_not_delay_the_stop() {
    let (mut service, folder) = start().await;
    let pipe = folder.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().await.unwrap();
    assert!(made.success());
    fs::rename(pipe, folder.path().join("clients")).unwrap();
    eventually(READ_WITHIN, async || !service.events(EVENT).is_empty()).await;
    let reason = service.events(EVENT)[0]["reason"].clone();
    assert_eq!(reason, "it is not a regular file");
    assert_eq!(create(&service, CLIENT_SECRET).await, StatusCode::CREATED);
    service.signal(Signal::SIGTERM);
    assert_eq!(service.ended(READ_WITHIN).await.code(), Some(0));
}
