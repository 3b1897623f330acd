//! Why there is no connection, and what to do about it.

use rstest::rstest;
use tee_session_redis_adapter::{
    RedisTls,
    diagnosis::{Check, Needs, Verdict},
};
use tee_session_test_support::{RedisProcess, TestAuthority, free_port};

use crate::{
    diagnosis::{advice, found, only, worst},
    settings,
};

#[rstest]
#[case::wrong_password("tee:wrong-s3cret@", "WRONGPASS")]
#[case::unknown_user("nobody:s3cret@", "WRONGPASS")]
#[case::no_password("", "NOAUTH")]
#[tokio::test]
async fn a_refused_login_is_told_without_the_password(#[case] login: &str, #[case] code: &str) {
    let redis = RedisProcess::start_with(&["--requirepass", "s3cret-of-default"]).await;
    let url = format!("redis://{login}127.0.0.1:{}", redis.port());
    let found = found(&settings(&url), Needs::default()).await;
    let refused = only(&found, Check::Login);
    assert_eq!(refused.verdict, Verdict::Error);
    assert!(refused.what.contains(code), "{refused:?}");
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[rstest]
#[case::nobody_listens("redis://127.0.0.1:{port}", "start Redis there")]
#[case::no_such_name("redis://redis.invalid:{port}", "mend the host in the Redis URL")]
#[case::no_socket(
    "redis+unix:///nonexistent/redis.sock",
    "mend the path in the Redis URL"
)]
#[tokio::test]
async fn a_server_that_is_not_there_is_told(#[case] url: &str, #[case] said: &str) {
    let url = url.replace("{port}", &free_port().to_string());
    let found = found(&settings(&url), Needs::default()).await;
    let missed = only(&found, Check::Connection);
    assert_eq!((missed.verdict, found.len()), (Verdict::Error, 1));
    assert!(advice(missed).contains(said), "{missed:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_told_in_time() {
    let redis = RedisProcess::start().await;
    redis.pause();
    let found = found(&settings(&redis.url()), Needs::default()).await;
    let silent = only(&found, Check::Connection);
    assert!(silent.what.contains("does not answer"), "{silent:?}");
    assert!(advice(silent).contains("hangs"), "{silent:?}");
}

/// What is wrong with TLS, in the certificates or in the URL.
#[derive(Debug, Clone, Copy)]
enum Tls {
    ForAnotherName,
    OfAnotherAuthority,
    OfNobodyKnown,
    WithoutAClientCertificate,
    NotAtAll,
    AtAPlainPort,
}

#[rstest]
#[case(Tls::ForAnotherName, "put a name that stands in the certificate")]
#[case(Tls::OfAnotherAuthority, "redis_tls_ca_file must hold the authority")]
#[case(Tls::OfNobodyKnown, "name the authority")]
#[case(Tls::WithoutAClientCertificate, "redis_tls_certificate_file")]
#[case(Tls::NotAtAll, "begin with rediss:")]
#[case(Tls::AtAPlainPort, "tls-port")]
#[tokio::test]
async fn what_is_wrong_with_tls_is_told(#[case] wrong: Tls, #[case] said: &str) {
    let (authority, other) = (TestAuthority::new(), TestAuthority::new());
    let certificate = match wrong {
        Tls::ForAnotherName => authority.issue_for_host("redis.example"),
        _ => authority.issue("redis"),
    };
    let redis = RedisProcess::start_with_certificate(&authority, &certificate).await;
    let url = redis.tls_url("default:s3cret@");
    let trusting = |authority: &TestAuthority| {
        let tls = RedisTls::default().with_ca_file(authority.ca_file());
        settings(&url).with_tls(tls).unwrap()
    };
    let settings = match wrong {
        Tls::ForAnotherName | Tls::WithoutAClientCertificate => trusting(&authority),
        Tls::OfAnotherAuthority => trusting(&other),
        Tls::OfNobodyKnown => settings(&url),
        Tls::NotAtAll => settings(&url.replace("rediss:", "redis:")),
        Tls::AtAPlainPort => settings(&redis.url().replace("redis:", "rediss:")),
    };
    let found = found(&settings, Needs::default()).await;
    let failed = only(&found, Check::Connection);
    assert_eq!((failed.verdict, found.len()), (Verdict::Error, 1));
    assert!(advice(failed).contains(said), "{failed:?}");
}

#[tokio::test]
async fn over_sound_tls_all_is_fine() {
    let authority = TestAuthority::new();
    let redis = RedisProcess::start_with_tls(&authority).await;
    let client = authority.issue("client");
    let tls = RedisTls::default()
        .with_ca_file(authority.ca_file())
        .with_client_certificate_files(&client.certificate_file, &client.private_key_file);
    let settings = settings(&redis.tls_url("")).with_tls(tls).unwrap();
    let found = found(&settings, Needs::default()).await;
    assert_eq!(only(&found, Check::Connection).what, "it answers over TLS");
    assert_eq!(worst(&found), Verdict::Warning, "it has no persistence");
}
