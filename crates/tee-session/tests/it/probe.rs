//! `tee-session probe`: what it finds, and what it says of it.

use std::{
    process::Output,
    time::{Duration, Instant},
};

use rstest::rstest;
use tee_session_test_support::{IssuedCertificate, RedisProcess, TestAuthority};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::service::{self, CLIENTS, binary};

const READY_WITHIN: Duration = Duration::from_secs(5);

async fn probe(flags: &[&str]) -> Output {
    binary().arg("probe").args(flags).output().await.unwrap()
}

fn said(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), &output.stderr].concat();
    let said = String::from_utf8(bytes).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[rstest]
#[case::alive(&[], "/health/live answered 200")]
#[case::ready(&["--ready"], "/health/ready answered 200")]
#[tokio::test]
async fn a_running_instance_is_found_by_its_url(#[case] flags: &[&str], #[case] expected: &str) {
    let service = service::start(&[]).await;
    let output = probe(&[flags, &["--url", service.base()]].concat()).await;
    assert!(said(&output).contains(expected), "{}", said(&output));
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn a_running_instance_is_found_by_its_settings() {
    let service = service::start(&["--api-host", "0.0.0.0", "--service-clients", CLIENTS]).await;
    let port = service.base().rsplit_once(':').unwrap().1;
    let environment = [("TSA_API_HOST", "0.0.0.0"), ("TSA_API_PORT", port)];
    let output = binary().arg("probe").envs(environment).output();
    let output = output.await.unwrap();
    let expected = format!("http://127.0.0.1:{port}/health/live answered 200");
    assert!(said(&output).starts_with(&expected), "{}", said(&output));
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn an_instance_whose_redis_is_away_is_alive_and_not_ready() {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    drop(redis);
    let service = service::start(&["--redis-url", &url]).await;
    let alive = probe(&["--url", service.base()]).await;
    assert_eq!(alive.status.code(), Some(0), "{}", said(&alive));
    let ready = probe(&["--url", service.base(), "--ready"]).await;
    assert_eq!(ready.status.code(), Some(1));
    assert!(said(&ready).contains("/health/ready answered 503"));
}

#[tokio::test]
async fn an_instance_that_does_not_run_is_told() {
    let port = free_port().await;
    let output = probe(&["--api-port", &port.to_string()]).await;
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("no answer from http://127.0.0.1:{port}/health/live");
    assert!(said(&output).contains(&expected), "{}", said(&output));
}

#[tokio::test]
async fn a_silent_instance_is_told_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let asked = Instant::now();
    let output = probe(&["--url", &url, "--timeout", "1"]).await;
    assert!(asked.elapsed() >= Duration::from_secs(1));
    assert!(asked.elapsed() < READY_WITHIN, "{:?}", asked.elapsed());
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("within 1 s"), "{}", said(&output));
}

#[tokio::test]
async fn another_protocol_is_no_answer() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", other.local_addr().unwrap());
    let greeting = tokio::spawn(async move {
        let (mut stream, _) = other.accept().await.unwrap();
        stream.write_all(b"220 mail.example\r\n").await.unwrap();
        stream
    });
    let output = probe(&["--url", &url]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("no answer of HTTP"),
        "{}",
        said(&output)
    );
    greeting.await.unwrap();
}

#[rstest]
#[case::no_url(&["--url", "10.0.0.5:8000"], "must be http:// or https://")]
#[case::no_time(&["--timeout", "0"], "0 is not in 1..=60")]
#[case::no_port(&["--api-port", "0"], "api_port (flag --api-port): is 0")]
#[tokio::test]
async fn what_cannot_be_asked_ends_it_with_2(#[case] flags: &[&str], #[case] expected: &str) {
    let output = probe(flags).await;
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(expected), "{said}");
}

/// An instance that shows the certificate `shown`, asked by a probe that knows `known`.
async fn over_https(shown: &IssuedCertificate, known: &IssuedCertificate) -> Output {
    let text = |file: &std::path::Path| file.to_str().unwrap().to_owned();
    let (certificate, key) = (text(&shown.certificate_file), text(&shown.private_key_file));
    let files = [
        "--tls-certificate-file",
        &certificate,
        "--tls-private-key-file",
        &key,
    ];
    let service = service::start(&files).await;
    let port = service.base().rsplit_once(':').unwrap().1;
    let known = text(&known.certificate_file);
    probe(&["--api-port", port, "--tls-certificate-file", &known]).await
}

#[tokio::test]
async fn over_https_an_instance_is_found_whoever_issued_its_certificate() {
    let authority = TestAuthority::new();
    let certificate = authority.issue("server");
    let output = over_https(&certificate, &certificate).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).starts_with("https://127.0.0.1:"));
}

#[tokio::test]
async fn over_https_an_instance_is_found_while_its_file_holds_another_certificate() {
    let authority = TestAuthority::new();
    let (shown, renewed) = (authority.issue("shown"), authority.issue("renewed"));
    let output = over_https(&shown, &renewed).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[tokio::test]
async fn what_is_wrong_with_other_settings_does_not_matter() {
    let service = service::start(&[]).await;
    let port = service.base().rsplit_once(':').unwrap().1;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let text = format!("api_port = {port}\na_key_of_the_next_release = true\nsession_ttl = 0\n");
    std::fs::write(&file, text).unwrap();
    let mut probe = binary();
    probe.args(["probe", "--config"]).arg(file);
    probe.env("TSA_REDIS_URL_FILE", folder.path().join("missing"));
    let output = probe.output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[rstest]
#[case::trusted(true, 0)]
#[case::not_trusted(false, 1)]
#[tokio::test]
async fn a_url_with_https_needs_a_certificate_that_the_machine_trusts(
    #[case] is_trusted: bool,
    #[case] code: i32,
) {
    let (authority, stranger) = (TestAuthority::new(), TestAuthority::new());
    let issued = authority.issue("server");
    let files = [&issued.certificate_file, &issued.private_key_file];
    let [certificate, key] = files.map(|file| file.to_str().unwrap());
    let flags = [
        "--tls-certificate-file",
        certificate,
        "--tls-private-key-file",
        key,
    ];
    let service = service::start(&flags).await;
    let trusted = if is_trusted { &authority } else { &stranger };
    let output = binary()
        .args(["probe", "--url", &service.base().replace("http", "https")])
        .env("SSL_CERT_FILE", trusted.ca_file())
        .output();
    let output = output.await.unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
}

/// One that nobody listens on.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}
