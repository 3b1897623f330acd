//! Tests of the warnings and of the metric about the expiry time of the listener's certificate.

use std::time::Duration;

use rstest::rstest;
use serde_json::Value;
use tee_session_test_support::{IssuedCertificate, TestAuthority, eventually};
use time::OffsetDateTime;

use crate::{
    metrics::scrape,
    service::{self, binary},
};

const EVENT: &str = "The TLS certificate has expired or expires within 14 days: renew it";

fn issue_for_days(authority: &TestAuthority, days: i64) -> (IssuedCertificate, OffsetDateTime) {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates expire by the clock of the machine"
    )]
    let expires_at = OffsetDateTime::now_utc() + time::Duration::days(days);
    (authority.issue_until("localhost", expires_at), expires_at)
}

fn flags_of(certificate: &IssuedCertificate) -> [&str; 4] {
    [
        "--tls-certificate-file",
        certificate.certificate_file.to_str().unwrap(),
        "--tls-private-key-file",
        certificate.private_key_file.to_str().unwrap(),
    ]
}

#[rstest]
#[case::expired(-1, true)]
#[case::expires_soon(13, true)]
#[case::valid_for_long(15, false)]
#[tokio::test]
async fn check_config_command_warns_only_if_the_tls_certificate_expires_within_14_days(
    #[case] days: i64,
    #[case] is_warned: bool,
) {
    let authority = TestAuthority::new();
    let (certificate, expires_at) = issue_for_days(&authority, days);
    let check = async |more: &[&str]| {
        let arguments = [&["check-config"], more, &flags_of(&certificate)].concat();
        let output = binary().args(arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = check(&[]).await;
    assert_eq!(text.contains("warning"), is_warned, "{text}");
    let day = expires_at.date().to_string();
    assert_eq!(text.contains(&day), is_warned, "{text}");
    let report: Value = serde_json::from_str(&check(&["--json"]).await).unwrap();
    let warnings = report["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), usize::from(is_warned), "{report}");
}

#[rstest]
#[case::expired(-1, true)]
#[case::expires_soon(13, true)]
#[case::valid_for_long(15, false)]
#[tokio::test]
async fn service_logs_a_warning_only_if_its_tls_certificate_expires_within_14_days(
    #[case] days: i64,
    #[case] is_logged: bool,
) {
    let authority = TestAuthority::new();
    let (certificate, expires_at) = issue_for_days(&authority, days);
    let flags = [&flags_of(&certificate)[..], &["--metrics-port", "0"]].concat();
    let service = service::start(&flags).await;
    let line = format!(
        "tee_session_tls_certificate_expiry_timestamp_seconds {}",
        expires_at.unix_timestamp()
    );
    eventually(Duration::from_secs(10), async || {
        scrape(&service).await.lines().any(|found| found == line)
    })
    .await;
    if is_logged {
        eventually(Duration::from_secs(10), async || {
            !service.events(EVENT).is_empty()
        })
        .await;
    }
    assert_eq!(service.events(EVENT).len(), usize::from(is_logged));
}
