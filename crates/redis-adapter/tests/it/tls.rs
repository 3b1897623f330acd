//! TLS to Redis, with a private authority and a certificate of our own.

use std::{path::PathBuf, time::Duration};

use tee_session_domain::SessionRepository;
use tee_session_redis_adapter::{RedisRepository, RedisSettings, RedisTls, RedisTlsError};
use tee_session_test_support::{CapturedLogs, RedisProcess, TestAuthority, eventually};

use crate::faults::{add_minimal_user, assert_serves_every_operation};

const REFUSED_WITHIN: Duration = Duration::from_secs(3);

/// What a deployment that takes it seriously has: TLS both ways, and a user with the least rights.
#[tokio::test]
async fn a_user_with_the_least_permissions_serves_over_tls_both_ways() {
    let authority = TestAuthority::new();
    let redis = RedisProcess::start_with_tls(&authority).await;
    add_minimal_user(&redis).await;
    let client = authority.issue("client");
    let tls = RedisTls::default()
        .with_ca_file(authority.ca_file())
        .with_client_certificate_files(&client.certificate_file, &client.private_key_file);
    let settings = RedisSettings::new(&redis.tls_url("tee:s3cret@")).unwrap();
    assert_serves_every_operation(&settings.with_tls(tls).unwrap()).await;
}

/// The reason that the log gives for a connection that does not come about.
async fn refusal(settings: RedisSettings) -> String {
    let logs = CapturedLogs::start();
    let repository = RedisRepository::connect(&settings);
    let failed = "Redis connection attempt failed: trying again";
    eventually(REFUSED_WITHIN, async || !logs.events(failed).is_empty()).await;
    assert!(repository.ping().await.is_err());
    logs.events(failed).remove(0)
}

#[tokio::test]
async fn a_redis_whose_authority_is_not_trusted_is_not_talked_to() {
    let authority = TestAuthority::new();
    let redis = RedisProcess::start_with_tls(&authority).await;
    let url = redis.tls_url("default:s3cret@");
    let settings = || RedisSettings::new(&url).unwrap();
    let stranger = RedisTls::default().with_ca_file(TestAuthority::new().ca_file());
    assert!(settings().with_tls(stranger).is_err(), "its files are gone");
    let another = TestAuthority::new();
    let stranger = RedisTls::default().with_ca_file(another.ca_file());
    for settings in [settings(), settings().with_tls(stranger).unwrap()] {
        let reason = refusal(settings).await;
        assert!(reason.contains("invalid peer certificate"), "{reason}");
        assert!(!reason.contains("s3cret"), "{reason}");
    }
}

#[tokio::test]
async fn without_the_certificate_that_redis_asks_for_there_is_no_connection() {
    let authority = TestAuthority::new();
    let redis = RedisProcess::start_with_tls(&authority).await;
    let settings = RedisSettings::new(&redis.tls_url("")).unwrap();
    let tls = RedisTls::default().with_ca_file(authority.ca_file());
    let reason = refusal(settings.with_tls(tls).unwrap()).await;
    assert!(reason.contains("lost its connection"), "{reason}");
}

/// A certificate that is renewed in its files is shown from the next connection on.
#[tokio::test]
async fn files_are_read_anew_for_each_connection() {
    let authority = TestAuthority::new();
    let redis = RedisProcess::start_with_tls(&authority).await;
    let stranger = TestAuthority::new();
    let files = stranger.issue("client");
    let tls = RedisTls::default()
        .with_ca_file(authority.ca_file())
        .with_client_certificate_files(&files.certificate_file, &files.private_key_file);
    let settings = RedisSettings::new(&redis.tls_url("")).unwrap();
    let repository = RedisRepository::connect(&settings.with_tls(tls).unwrap());
    let connected = repository.wait_until_connected(Duration::from_millis(500));
    assert!(
        connected.await.is_err(),
        "a stranger's certificate was taken"
    );
    authority.issue_to("client", &files);
    let connected = repository.wait_until_connected(Duration::from_secs(10));
    connected.await.unwrap();
}

fn settings_with(tls: RedisTls) -> Result<RedisSettings, RedisTlsError> {
    RedisSettings::new("rediss://127.0.0.1")
        .unwrap()
        .with_tls(tls)
}

#[test]
fn the_machines_roots_do_without_any_file() {
    assert!(settings_with(RedisTls::default()).is_ok());
}

#[test]
fn authorities_that_are_missing_or_no_certificates_are_told_by_their_file() {
    let authority = TestAuthority::new();
    let key_file = authority.issue("client").private_key_file;
    for file in [PathBuf::from("/nonexistent/ca.crt"), key_file] {
        let error = settings_with(RedisTls::default().with_ca_file(&file)).unwrap_err();
        assert!(matches!(error, RedisTlsError::Authorities { .. }));
        assert!(error.to_string().contains(file.to_str().unwrap()));
    }
}

#[test]
fn a_key_that_is_missing_or_of_another_certificate_is_refused() {
    let authority = TestAuthority::new();
    let (one, other) = (authority.issue("one"), authority.issue("other"));
    let key_files = [
        PathBuf::from("/nonexistent/tls.key"),
        one.certificate_file.clone(),
        other.private_key_file,
    ];
    for key_file in key_files {
        let tls = RedisTls::default();
        let tls = tls.with_client_certificate_files(&one.certificate_file, key_file);
        let error = settings_with(tls).unwrap_err();
        assert!(
            matches!(error, RedisTlsError::ClientCertificate { .. }),
            "{error}"
        );
    }
}
