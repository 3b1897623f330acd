//! Tests of the warnings about certificates that have expired, expire soon or are not valid yet,
//! and of the metric about the expiry time of the listener's certificate.

use std::{fs, time::Duration};

use rstest::rstest;
use serde_json::Value;
use tee_session_test_support::{IssuedCertificate, TestAuthority, eventually, free_port};
use time::OffsetDateTime;

use crate::{
    metrics::scrape,
    service::{self, binary},
};

const EVENT: &str = "The TLS certificate has expired or expires soon: renew or replace it";

const NOT_VALID_YET: &str = "The TLS certificate is not valid yet: check the clock of this machine, \
                             or use a certificate that is valid now";

fn in_days(days: i64) -> OffsetDateTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates expire by the clock of the machine"
    )]
    let now = OffsetDateTime::now_utc();
    now + time::Duration::days(days)
}

fn issue_for_days(authority: &TestAuthority, days: i64) -> (IssuedCertificate, OffsetDateTime) {
    let expires_at = in_days(days);
    (authority.issue_until("localhost", expires_at), expires_at)
}

fn issue_not_valid_yet(authority: &TestAuthority) -> IssuedCertificate {
    authority.issue_between("localhost", in_days(1), in_days(90))
}

fn issue_expired_without_subject(authority: &TestAuthority) -> IssuedCertificate {
    authority.issue_without_subject(&["localhost"], in_days(-1))
}

fn issue_expired_without_any_name(authority: &TestAuthority) -> IssuedCertificate {
    authority.issue_without_subject(&[], in_days(-1))
}

/// Issues a valid certificate. Its file also contains an expired intermediate certificate.
fn issue_with_expired_intermediate(authority: &TestAuthority) -> IssuedCertificate {
    let leaf = authority.issue("localhost");
    let intermediate = authority.issue_until("intermediate", in_days(-1));
    let chain = [&leaf, &intermediate].map(|one| fs::read(&one.certificate_file).unwrap());
    fs::write(&leaf.certificate_file, chain.concat()).unwrap();
    leaf
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
#[case::in_time_for_the_renewal(25, false)]
#[case::too_late_for_the_renewal(23, true)]
#[tokio::test]
async fn check_config_command_warns_of_a_6_day_certificate_only_in_its_last_24_hours(
    #[case] hours_left: i64,
    #[case] is_warned: bool,
) {
    let authority = TestAuthority::new();
    let expires_at = in_days(0) + time::Duration::hours(hours_left);
    let valid_from = expires_at - time::Duration::days(6);
    let certificate = authority.issue_between("localhost", valid_from, expires_at);
    let arguments = [&["check-config", "--json"][..], &flags_of(&certificate)].concat();
    let output = binary().args(arguments).output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
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

#[rstest]
#[case::not_valid_yet(issue_not_valid_yet, NOT_VALID_YET, "CN=localhost")]
#[case::expired_intermediate(issue_with_expired_intermediate, EVENT, "CN=intermediate")]
#[case::expired_without_subject(issue_expired_without_subject, EVENT, "localhost")]
#[case::expired_without_any_name(issue_expired_without_any_name, EVENT, "number 1")]
#[tokio::test]
async fn api_or_redis_client_certificate_chain_that_is_not_valid_now_causes_a_warning(
    #[values("tls", "redis-tls")] prefix: &str,
    #[case] issue: fn(&TestAuthority) -> IssuedCertificate,
    #[case] event: &str,
    #[case] subject: &str,
) {
    let authority = TestAuthority::new();
    let certificate = issue(&authority);
    let [_, certificate_file, _, private_key_file] = flags_of(&certificate);
    let certificate_flag = format!("--{prefix}-certificate-file");
    let private_key_flag = format!("--{prefix}-private-key-file");
    let redis_url = format!("rediss://127.0.0.1:{}", free_port());
    let mut flags = vec![
        certificate_flag.as_str(),
        certificate_file,
        private_key_flag.as_str(),
        private_key_file,
    ];
    if prefix == "redis-tls" {
        flags.extend(["--redis-url", redis_url.as_str()]);
    }
    let arguments = [&["check-config", "--json"][..], &flags[..]].concat();
    let output = binary().args(arguments).output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["warnings"].as_array().unwrap().len(), 1, "{report}");
    let warning = report["warnings"][0].as_str().unwrap();
    let setting = format!("{}_certificate_file: ", prefix.replace('-', "_"));
    assert!(warning.starts_with(&setting), "{warning}");
    let name = format!("the certificate {subject} ");
    assert!(warning.contains(&name), "{warning}");

    let service = service::start(&flags).await;
    eventually(Duration::from_secs(10), async || {
        !service.events(event).is_empty()
    })
    .await;
    let events = service.events(event);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["file"], certificate_file);
    assert_eq!(events[0]["subject"], subject);
}
