//! Tests of the diagnosis of failed connections: the cause of the failure is reported with advice
//! on how to fix the cause.

use rstest::rstest;
use tee_session_redis_adapter::{
    RedisTls,
    diagnosis::{Check, RequiredPermissions, Verdict},
};
use tee_session_test_support::{RedisProcess, TestAuthority, free_port};

use crate::{
    diagnosis::{advice_of, only_finding, run_diagnosis, worst_verdict},
    settings,
};

#[rstest]
#[case::wrong_password("tee:wrong-s3cret@", "WRONGPASS")]
#[case::unknown_user("nobody:s3cret@", "WRONGPASS")]
#[case::no_password("", "NOAUTH")]
#[tokio::test]
async fn diagnosis_reports_rejected_credentials_with_the_error_code_and_without_the_password(
    #[case] credentials: &str,
    #[case] code: &str,
) {
    let redis = RedisProcess::start_with(&["--requirepass", "s3cret-of-default"]).await;
    let url = format!("redis://{credentials}127.0.0.1:{}", redis.port());
    let found = run_diagnosis(&settings(&url), RequiredPermissions::default()).await;
    let refused = only_finding(&found, Check::Login);
    assert_eq!(refused.verdict, Verdict::Error);
    assert!(refused.what.contains(code), "{refused:?}");
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[rstest]
#[case::connection_refused("redis://127.0.0.1:{port}", "start Redis there")]
#[case::unknown_host("redis://redis.invalid:{port}", "fix the host in the Redis URL")]
#[case::missing_unix_socket(
    "redis+unix:///nonexistent/redis.sock",
    "fix the path in the Redis URL"
)]
#[tokio::test]
async fn diagnosis_explains_why_redis_is_unreachable(#[case] url: &str, #[case] expected: &str) {
    let url = url.replace("{port}", &free_port().to_string());
    let found = run_diagnosis(&settings(&url), RequiredPermissions::default()).await;
    let missed = only_finding(&found, Check::Connection);
    assert_eq!((missed.verdict, found.len()), (Verdict::Error, 1));
    assert!(advice_of(missed).contains(expected), "{missed:?}");
}

#[tokio::test]
async fn diagnosis_reports_after_at_most_15_seconds_that_redis_does_not_reply() {
    let redis = RedisProcess::start().await;
    redis.pause();
    let found = run_diagnosis(&settings(&redis.url()), RequiredPermissions::default()).await;
    let silent = only_finding(&found, Check::Connection);
    assert!(silent.what.contains("does not reply"), "{silent:?}");
    assert!(advice_of(silent).contains("hangs"), "{silent:?}");
}

/// A fault in a certificate or in the Redis URL that prevents a TLS connection.
#[derive(Debug, Clone, Copy)]
enum TlsFault {
    CertificateForAnotherName,
    WrongAuthority,
    UnknownAuthority,
    NoClientCertificate,
    UrlWithoutTls,
    PortWithoutTls,
}

#[rstest]
#[case::certificate_for_another_name(
    TlsFault::CertificateForAnotherName,
    "use a name in the Redis URL that the certificate"
)]
#[case::wrong_authority(
    TlsFault::WrongAuthority,
    "redis_tls_ca_file must contain the authority"
)]
#[case::unknown_authority(TlsFault::UnknownAuthority, "set redis_tls_ca_file to the authority")]
#[case::no_client_certificate(TlsFault::NoClientCertificate, "redis_tls_certificate_file")]
#[case::url_without_tls(TlsFault::UrlWithoutTls, "begins with rediss:")]
#[case::port_without_tls(TlsFault::PortWithoutTls, "tls-port")]
#[tokio::test]
async fn diagnosis_of_a_failed_tls_connection_reports_the_cause_with_advice(
    #[case] fault: TlsFault,
    #[case] expected: &str,
) {
    let (authority, other) = (TestAuthority::new(), TestAuthority::new());
    let certificate = match fault {
        TlsFault::CertificateForAnotherName => authority.issue_for_host("redis.example"),
        _ => authority.issue("redis"),
    };
    let redis = RedisProcess::start_with_certificate(&authority, &certificate).await;
    let url = redis.tls_url("default:s3cret@");
    let trusting = |authority: &TestAuthority| {
        let tls = RedisTls::default().with_ca_file(authority.ca_file());
        settings(&url).with_tls(tls).unwrap()
    };
    let settings = match fault {
        TlsFault::CertificateForAnotherName | TlsFault::NoClientCertificate => trusting(&authority),
        TlsFault::WrongAuthority => trusting(&other),
        TlsFault::UnknownAuthority => settings(&url),
        TlsFault::UrlWithoutTls => settings(&url.replace("rediss:", "redis:")),
        TlsFault::PortWithoutTls => settings(&redis.url().replace("redis:", "rediss:")),
    };
    let found = run_diagnosis(&settings, RequiredPermissions::default()).await;
    let failed = only_finding(&found, Check::Connection);
    assert_eq!((failed.verdict, found.len()), (Verdict::Error, 1));
    assert!(advice_of(failed).contains(expected), "{failed:?}");
}

#[tokio::test]
async fn diagnosis_of_a_valid_tls_connection_passes_the_connection_check() {
    let authority = TestAuthority::new();
    let redis = RedisProcess::start_with_tls(&authority).await;
    let client = authority.issue("client");
    let tls = RedisTls::default()
        .with_ca_file(authority.ca_file())
        .with_client_certificate_files(&client.certificate_file, &client.private_key_file);
    let settings = settings(&redis.tls_url("")).with_tls(tls).unwrap();
    let found = run_diagnosis(&settings, RequiredPermissions::default()).await;
    assert_eq!(
        only_finding(&found, Check::Connection).what,
        "connected over TLS"
    );
    assert_eq!(
        worst_verdict(&found),
        Verdict::Warning,
        "Redis has no persistence"
    );
}
