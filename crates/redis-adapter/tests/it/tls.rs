//! Tests of TLS connections to Redis, with a private certificate authority and a client
//! certificate.

use std::{path::PathBuf, time::Duration};

use tee_session_domain::SessionRepository;
use tee_session_redis_adapter::{RedisRepository, RedisSettings, RedisTls, RedisTlsError};
use tee_session_test_support::{CapturedLogs, RedisProcess, TestAuthority, eventually};

use crate::{
    faults::{add_minimal_user, assert_serves_every_operation},
    settings,
};

const REFUSED_WITHIN: Duration = Duration::from_secs(3);

/// Combines mutual TLS with a Redis user that has only the minimum permissions, as a hardened
/// deployment does.
#[tokio::test]
async fn session_operations_succeed_with_minimal_redis_permissions_and_mutual_tls() {
    let authority = TestAuthority::new();
    let redis = RedisProcess::start_with_tls(&authority).await;
    add_minimal_user(&redis).await;
    let client = authority.issue("client");
    let tls = RedisTls::default()
        .with_ca_file(authority.ca_file())
        .with_client_certificate_files(&client.certificate_file, &client.private_key_file);
    let settings = settings(&redis.tls_url("tee:s3cret@"));
    assert_serves_every_operation(&settings.with_tls(tls).unwrap()).await;
}

/// Connects with `settings`, and returns the log event of the failed connection attempt.
async fn wait_for_connection_failure(settings: RedisSettings) -> String {
    let logs = CapturedLogs::start();
    let repository = RedisRepository::connect(&settings);
    let failed = "Redis connection attempt failed: trying again";
    eventually(REFUSED_WITHIN, async || !logs.events(failed).is_empty()).await;
    assert!(repository.ping().await.is_err());
    logs.events(failed).remove(0)
}

#[tokio::test]
async fn redis_server_certificate_from_an_untrusted_authority_is_rejected() {
    let authority = TestAuthority::new();
    let redis = RedisProcess::start_with_tls(&authority).await;
    let url = redis.tls_url("default:s3cret@");
    let settings = || settings(&url);
    let stranger = RedisTls::default().with_ca_file(TestAuthority::new().ca_file());
    assert!(
        settings().with_tls(stranger).is_err(),
        "the deleted CA file was accepted"
    );
    let another = TestAuthority::new();
    let stranger = RedisTls::default().with_ca_file(another.ca_file());
    for settings in [settings(), settings().with_tls(stranger).unwrap()] {
        let reason = wait_for_connection_failure(settings).await;
        assert!(reason.contains("invalid peer certificate"), "{reason}");
        assert!(!reason.contains("s3cret"), "{reason}");
    }
}

#[tokio::test]
async fn connecting_to_redis_without_the_required_client_certificate_fails() {
    let authority = TestAuthority::new();
    let redis = RedisProcess::start_with_tls(&authority).await;
    let settings = settings(&redis.tls_url(""));
    let tls = RedisTls::default().with_ca_file(authority.ca_file());
    let reason = wait_for_connection_failure(settings.with_tls(tls).unwrap()).await;
    assert!(reason.contains("was lost: "), "{reason}");
}

/// Connects with a client certificate that Redis rejects, and then replaces the certificate files.
/// The next connection attempt uses the new certificate.
#[tokio::test]
async fn client_certificate_files_are_reloaded_for_each_redis_connection() {
    let authority = TestAuthority::new();
    let redis = RedisProcess::start_with_tls(&authority).await;
    let stranger = TestAuthority::new();
    let files = stranger.issue("client");
    let tls = RedisTls::default()
        .with_ca_file(authority.ca_file())
        .with_client_certificate_files(&files.certificate_file, &files.private_key_file);
    let settings = settings(&redis.tls_url(""));
    let repository = RedisRepository::connect(&settings.with_tls(tls).unwrap());
    let connected = repository.wait_until_connected(Duration::from_millis(500));
    assert!(
        connected.await.is_err(),
        "the certificate of an untrusted authority was accepted"
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
fn system_root_certificates_are_used_if_no_ca_file_is_set() {
    assert!(settings_with(RedisTls::default()).is_ok());
}

#[test]
fn missing_or_invalid_ca_file_is_named_in_the_error() {
    let authority = TestAuthority::new();
    let key_file = authority.issue("client").private_key_file;
    for file in [PathBuf::from("/nonexistent/ca.crt"), key_file] {
        let error = settings_with(RedisTls::default().with_ca_file(&file)).unwrap_err();
        assert!(matches!(error, RedisTlsError::Authorities { .. }));
        assert!(error.to_string().contains(file.to_str().unwrap()));
    }
}

#[test]
fn missing_or_mismatched_private_key_of_the_client_certificate_is_rejected() {
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
