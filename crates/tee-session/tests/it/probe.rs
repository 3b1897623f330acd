//! Tests of the exit codes and messages of `tee-session probe`.

use std::{
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use rstest::rstest;
use tee_session_test_support::{IssuedCertificate, RedisProcess, TestAuthority};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::service::{self, CLIENTS, binary, closed_pipe};

const READY_WITHIN: Duration = Duration::from_secs(5);

async fn probe(flags: &[&str]) -> Output {
    binary().arg("probe").args(flags).output().await.unwrap()
}

/// Returns the line that the probe printed on standard output or standard error. Panics if the
/// probe did not print exactly one line.
fn printed_line(output: &Output) -> String {
    let bytes = [output.stdout.as_slice(), &output.stderr].concat();
    let line = String::from_utf8(bytes).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[rstest]
#[case::alive(&[], "/health/live answered 200")]
#[case::ready(&["--ready"], "/health/ready answered 200")]
#[tokio::test]
async fn probe_command_with_the_url_of_a_running_instance_exits_with_0(
    #[case] flags: &[&str],
    #[case] expected: &str,
) {
    let service = service::start(&[]).await;
    let output = probe(&[flags, &["--url", service.base()]].concat()).await;
    assert!(
        printed_line(&output).contains(expected),
        "{}",
        printed_line(&output)
    );
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn probe_command_whose_standard_output_is_closed_exits_with_0() {
    let service = service::start(&[]).await;
    let mut probe = binary();
    probe.args(["probe", "--url", service.base()]);
    probe.stdout(closed_pipe()).stderr(Stdio::piped());
    let output = probe.spawn().unwrap().wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[tokio::test]
async fn probe_command_with_the_settings_of_a_running_instance_exits_with_0() {
    let service = service::start(&["--api-host", "0.0.0.0", "--service-clients", CLIENTS]).await;
    let port = service.base().rsplit_once(':').unwrap().1;
    let environment = [("TSA_API_HOST", "0.0.0.0"), ("TSA_API_PORT", port)];
    let output = binary().arg("probe").envs(environment).output();
    let output = output.await.unwrap();
    let expected = format!("http://127.0.0.1:{port}/health/live answered 200");
    assert!(
        printed_line(&output).starts_with(&expected),
        "{}",
        printed_line(&output)
    );
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn probe_command_reports_an_instance_without_redis_as_alive_but_not_ready() {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    drop(redis);
    let service = service::start(&["--redis-url", &url]).await;
    let alive = probe(&["--url", service.base()]).await;
    assert_eq!(alive.status.code(), Some(0), "{}", printed_line(&alive));
    let ready = probe(&["--url", service.base(), "--ready"]).await;
    assert_eq!(ready.status.code(), Some(1));
    assert!(printed_line(&ready).contains("/health/ready answered 503"));
}

#[tokio::test]
async fn probe_command_for_a_stopped_instance_exits_with_1() {
    let port = find_free_port().await;
    let output = probe(&["--api-port", &port.to_string()]).await;
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("no response from http://127.0.0.1:{port}/health/live");
    assert!(
        printed_line(&output).contains(&expected),
        "{}",
        printed_line(&output)
    );
}

#[tokio::test]
async fn probe_command_for_an_unresponsive_instance_exits_with_1_after_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let started = Instant::now();
    let output = probe(&["--url", &url, "--timeout", "1"]).await;
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(started.elapsed() < READY_WITHIN, "{:?}", started.elapsed());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed_line(&output).contains("within 1 s"),
        "{}",
        printed_line(&output)
    );
}

#[tokio::test]
async fn probe_command_for_a_server_that_does_not_speak_http_exits_with_1() {
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
        printed_line(&output).contains("the response is not HTTP"),
        "{}",
        printed_line(&output)
    );
    greeting.await.unwrap();
}

#[rstest]
#[case::url_without_a_scheme(&["--url", "10.0.0.5:8000"], "the URL must be http:// or https://")]
#[case::zero_timeout(&["--timeout", "0"], "0 is not in 1..=60")]
#[case::port_zero(&["--api-port", "0"], "api_port (flag --api-port): api_port is 0")]
#[tokio::test]
async fn probe_command_with_an_invalid_url_port_or_timeout_exits_with_2(
    #[case] flags: &[&str],
    #[case] expected: &str,
) {
    let output = probe(flags).await;
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains(expected), "{message}");
}

/// Starts an HTTPS instance with the certificate `presented`. Then runs the probe with settings
/// that contain the certificate `configured`, and returns the output of the probe.
async fn probe_over_https(presented: &IssuedCertificate, configured: &IssuedCertificate) -> Output {
    let text = |file: &std::path::Path| file.to_str().unwrap().to_owned();
    let certificate = text(&presented.certificate_file);
    let key = text(&presented.private_key_file);
    let files = [
        "--tls-certificate-file",
        &certificate,
        "--tls-private-key-file",
        &key,
    ];
    let service = service::start(&files).await;
    let port = service.base().rsplit_once(':').unwrap().1;
    let configured = text(&configured.certificate_file);
    probe(&["--api-port", port, "--tls-certificate-file", &configured]).await
}

#[tokio::test]
async fn probe_command_without_a_url_accepts_a_certificate_of_any_issuer() {
    let authority = TestAuthority::new();
    let certificate = authority.issue("server");
    let output = probe_over_https(&certificate, &certificate).await;
    assert_eq!(output.status.code(), Some(0), "{}", printed_line(&output));
    assert!(printed_line(&output).starts_with("https://127.0.0.1:"));
}

#[tokio::test]
async fn probe_command_without_a_url_accepts_a_certificate_other_than_the_configured_one() {
    let authority = TestAuthority::new();
    let (presented, renewed) = (authority.issue("presented"), authority.issue("renewed"));
    let output = probe_over_https(&presented, &renewed).await;
    assert_eq!(output.status.code(), Some(0), "{}", printed_line(&output));
}

#[tokio::test]
async fn probe_command_ignores_invalid_settings_that_it_does_not_use() {
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
    assert_eq!(output.status.code(), Some(0), "{}", printed_line(&output));
}

#[rstest]
#[case::trusted(true, 0)]
#[case::not_trusted(false, 1)]
#[tokio::test]
async fn probe_command_with_an_https_url_requires_a_trusted_certificate(
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
    assert_eq!(
        output.status.code(),
        Some(code),
        "{}",
        printed_line(&output)
    );
}

/// Returns a port on which no program listens.
async fn find_free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}
