//! Tests of the warning and the metric for the expiry of the listener's certificate.

use std::time::Duration;

use rstest::rstest;
use tee_session_test_support::{TestAuthority, eventually};
use time::OffsetDateTime;

use crate::{metrics::scrape, service};

const EVENT: &str = "The TLS certificate has expired or expires within 14 days: renew it";

#[rstest]
#[case::expired(-1, true)]
#[case::expires_soon(13, true)]
#[case::valid_for_long(15, false)]
#[tokio::test]
async fn certificate_warning_is_logged_only_within_14_days_of_expiry(
    #[case] days: i64,
    #[case] is_logged: bool,
) {
    let authority = TestAuthority::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates expire by the clock of the machine"
    )]
    let expires_at = OffsetDateTime::now_utc() + time::Duration::days(days);
    let certificate = authority.issue_until("localhost", expires_at);
    let service = service::start(&[
        "--tls-certificate-file",
        certificate.certificate_file.to_str().unwrap(),
        "--tls-private-key-file",
        certificate.private_key_file.to_str().unwrap(),
        "--metrics-port",
        "0",
    ])
    .await;
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
