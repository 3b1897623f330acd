//! Tests of a hardened deployment: the API over HTTPS, mutual TLS to Redis, and a Redis user with
//! minimal permissions.

use std::{fs, path::Path, time::Duration};

use reqwest::{Certificate, Client, Method, StatusCode};
use rstest::rstest;
use tee_session_test_support::{IssuedCertificate, RedisProcess, TestAuthority, eventually};

use crate::service::{self, Service};

const READY_WITHIN: Duration = Duration::from_secs(5);

/// Minimal permissions of the Redis user, as documented in the README of
/// `tee-session-redis-adapter`.
const LEAST_PERMISSIONS: &str = "resetkeys -@all ~session:* +get +mget +set +expire +pexpire \
     +pttl +del +eval +time +info +select";

struct Deployment {
    authority: TestAuthority,
    redis: RedisProcess,
    service: Service,
    server_certificate: IssuedCertificate,
}

impl Deployment {
    async fn start() -> Self {
        let authority = TestAuthority::new();
        let redis = RedisProcess::start_with_tls(&authority).await;
        let user = ["ACL", "SETUSER", "tee", "on", ">s3cret-password"];
        let permissions: Vec<_> = LEAST_PERMISSIONS.split_whitespace().collect();
        redis
            .command(&[user.as_slice(), &permissions].concat())
            .await;

        let server_certificate = authority.issue("server");
        let client_certificate = authority.issue("client");
        let ca_file = authority.ca_file();
        let url_file = ca_file.with_file_name("redis-url");
        fs::write(&url_file, redis.tls_url("tee:s3cret-password@")).unwrap();
        let text = |file: &Path| file.to_str().unwrap().to_owned();
        let flags = [
            ("--redis-url-file", text(&url_file)),
            ("--redis-tls-ca-file", text(&ca_file)),
            (
                "--redis-tls-certificate-file",
                text(&client_certificate.certificate_file),
            ),
            (
                "--redis-tls-private-key-file",
                text(&client_certificate.private_key_file),
            ),
            (
                "--tls-certificate-file",
                text(&server_certificate.certificate_file),
            ),
            (
                "--tls-private-key-file",
                text(&server_certificate.private_key_file),
            ),
        ];
        let flags: Vec<_> = flags.iter().flat_map(|(f, file)| [*f, file]).collect();
        let mut service = service::start(&flags).await;
        let root = Certificate::from_pem(&fs::read(&ca_file).unwrap()).unwrap();
        let client = Client::builder().tls_certs_only([root]);
        service.speak_https(client.build().unwrap());
        service.until_ready(READY_WITHIN).await;
        Self {
            authority,
            redis,
            service,
            server_certificate,
        }
    }
}

#[rstest]
#[case::read_session(Method::GET, "/v1/session", "get", "GET")]
#[case::touch_session(Method::GET, "/v1/session", "expire", "EXPIRE")]
#[case::read_ttl(Method::GET, "/v1/session/ttl", "pttl", "PTTL")]
#[case::load_before_delete(Method::DELETE, "/v1/session", "pexpire", "PEXPIRE")]
#[case::delete_session(Method::DELETE, "/v1/session", "del", "DEL")]
#[case::create_session(Method::POST, "/v1/sessions", "set", "SET")]
#[tokio::test]
async fn request_that_needs_a_missing_redis_permission_gets_503_and_the_redis_command_is_logged(
    #[case] method: Method,
    #[case] path: &str,
    #[case] permission: &str,
    #[case] command: &str,
) {
    let Deployment { redis, service, .. } = Deployment::start().await;
    let token = service.log_in("s3cret-cookie").await;
    let status = service.status(Method::GET, "/v1/session", &token).await;
    assert_eq!(status, StatusCode::OK);
    redis
        .command(&["ACL", "SETUSER", "tee", &format!("-{permission}")])
        .await;
    let mut request = service.request(method.clone(), path).bearer_auth(&token);
    if method == Method::POST {
        let cookies = serde_json::json!({"SESSIONID": "s3cret-cookie"});
        request = request.json(&serde_json::json!({
            "cookies": cookies, "base_url": "https://golf.example",
        }));
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!response.headers().contains_key("retry-after"));
    assert!(!response.headers().contains_key("www-authenticate"));
    let failed = "Request failed: session store misconfigured";
    eventually(READY_WITHIN, async || !service.events(failed).is_empty()).await;
    let error = service.events(failed)[0]["error"].to_string();
    let named = format!("{command} was refused by Redis: NOPERM");
    assert!(error.contains(&named), "{error}");
    let output = service.output();
    for secret in ["s3cret", token.as_str()] {
        assert!(!output.contains(secret), "{output}");
    }
}

#[tokio::test]
async fn renewed_tls_certificate_is_reloaded_without_a_restart() {
    let deployment = Deployment::start().await;
    let service = &deployment.service;
    let files = &deployment.server_certificate;
    deployment.authority.issue_to("server", files);
    let reloaded = "TLS certificate reloaded";
    eventually(READY_WITHIN, async || !service.events(reloaded).is_empty()).await;
    service.log_in("a1b2c3").await;
}
