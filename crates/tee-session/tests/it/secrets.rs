//! Tests that tokens, cookies and passwords appear neither in the log nor in the output of
//! commands.

use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use tee_session_test_support::{RedisProcess, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::service::{self, CLIENT_ID, CLIENT_SECRET, CLIENTS, Service, binary};

const RECOVERED_WITHIN: Duration = Duration::from_secs(5);

/// Sends valid and invalid requests while Redis is available, stopped, and paused.
#[rstest]
#[case::json_at_debug_level("DEBUG", false)]
#[case::json_at_trace_level("TRACE", false)]
#[case::text_at_trace_level("TRACE", true)]
#[tokio::test]
async fn secrets_in_valid_and_invalid_requests_are_not_logged(
    #[case] level: &str,
    #[case] is_text: bool,
) {
    let mut redis = RedisProcess::start_with(&["--requirepass", "s3cret-redis-password"]).await;
    let url = format!(
        "redis://:s3cret-redis-password@127.0.0.1:{}/0",
        redis.port()
    );
    let flags = ["--redis-url", &url, "--log-level", level];
    let mut service = if is_text {
        service::start_with_text_log(&flags).await
    } else {
        service::start(&flags).await
    };
    service.until_ready(RECOVERED_WITHIN).await;

    let mut secrets = vec![
        "s3cret-redis-password".to_owned(),
        "in-the-query".to_owned(),
    ];
    let mut tokens = Vec::new();
    for n in 0..20 {
        let cookie = format!("s3cret-cookie-{n}");
        tokens.push(service.log_in(&cookie).await);
        secrets.push(cookie);
    }
    use_sessions(&service, &tokens, true).await;
    let bad_bodies = [
        r#"{"cookies": {"a": "s3cret-in-bad-json"}"#,
        r#"{"cookies": {"a": "s3cret-value\n"}, "base_url": "https://u:s3cret-pass@golf.example"}"#,
        r#"{"cookies": {"a": "1"}, "base_url": "https://golf.example", "s3cret-member": 1}"#,
    ];
    for body in bad_bodies {
        let request = service.request(Method::POST, "/v1/sessions").body(body);
        request
            .header("content-type", "application/json")
            .send()
            .await
            .unwrap();
    }
    secrets.extend(
        [
            "s3cret-in-bad",
            "s3cret-value",
            "s3cret-pass",
            "s3cret-member",
        ]
        .map(Into::into),
    );
    for authorization in [
        "Bearer s3cret-no-uuid",
        "Basic s3cret-basic",
        "s3cret-scheme x",
    ] {
        let request = service.request(Method::GET, "/v1/session?access_token=s3cret-in-query");
        request
            .header("authorization", authorization)
            .send()
            .await
            .unwrap();
    }
    let odd = [
        "s3cret-no-uuid",
        "s3cret-basic",
        "s3cret-scheme",
        "s3cret-in-query",
    ];
    secrets.extend(odd.map(Into::into));
    secrets.extend(update_and_rotate(&service, &tokens).await);
    redis.kill().await;
    use_sessions(&service, &tokens, false).await;
    update_and_rotate(&service, &tokens).await;
    redis.start_again().await;
    service.until_ready(RECOVERED_WITHIN).await;
    use_sessions(&service, &tokens, true).await;
    redis.pause();
    service.status(Method::GET, "/v1/session", &tokens[0]).await;
    redis.resume();
    service.signal(Signal::SIGTERM);
    service.ended(Duration::from_secs(20)).await;

    secrets.extend(tokens);
    let output = service.output();
    assert!(output.contains("Session created"), "{output}");
    assert!(
        output.contains("Request failed: session store unavailable"),
        "{output}"
    );
    for secret in &secrets {
        assert!(!output.contains(secret.as_str()), "{secret} was logged");
    }
}

#[tokio::test]
async fn changed_redis_password_needs_no_restart_and_is_not_logged() {
    let redis = RedisProcess::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("redis-url");
    let write = |password: &str| {
        let url = format!("redis://tee:{password}@127.0.0.1:{}/0\n", redis.port());
        std::fs::write(&file, url).unwrap();
    };
    let set_password = async |password: &str| {
        let rule = format!(">{password}");
        let user = ["ACL", "SETUSER", "tee", "reset", "on", "+@all", "~*", &rule];
        redis.command(&user).await;
    };
    set_password("s3cret-old").await;
    write("s3cret-old");
    let flags = ["--redis-url-file", file.to_str().unwrap()];
    let service = service::start(&[&flags[..], &["--log-level", "TRACE"]].concat()).await;
    service.until_ready(RECOVERED_WITHIN).await;
    let token = service.log_in("s3cret-cookie").await;
    set_password("s3cret-new").await;
    write("s3cret-new");
    redis.command(&["CLIENT", "KILL", "USER", "tee"]).await;
    let read_again = "Redis credentials read again from the URL file";
    eventually(RECOVERED_WITHIN, async || {
        !service.events(read_again).is_empty()
    })
    .await;
    eventually(RECOVERED_WITHIN, async || {
        let status = service.status(Method::GET, "/v1/session", &token).await;
        status == StatusCode::OK
    })
    .await;
    let output = service.output();
    assert!(!output.contains("s3cret"), "{output}");
}

/// Checks that the service logs no error for a malformed request. Otherwise, any client could fill
/// the log with errors.
#[tokio::test]
async fn malformed_http_requests_log_no_error_and_are_not_quoted_in_the_log() {
    let mut service = service::start(&["--log-level", "DEBUG"]).await;
    let requests = [
        "nonsense\r\n\r\n",
        "GET /s3cret HTTP/9.9\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\ns3cret header\r\n\r\n",
        "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: s3cret\r\n\r\n",
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\ns3cret\r\n",
    ];
    for request in requests.into_iter().cycle().take(50) {
        let mut stream = service.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with("HTTP/1.1 400 "),
            "{request:?}: {answer:?}"
        );
    }
    service.signal(Signal::SIGTERM);
    service.ended(Duration::from_secs(20)).await;
    let output = service.output();
    assert!(
        !output.contains("ERROR") && !output.contains("s3cret"),
        "{output}"
    );
}

/// Checks that session commands do not print secrets that are read from files. The token of the new
/// session is also written to a file, and `show` runs without `--reveal`.
#[tokio::test]
async fn session_commands_do_not_print_secrets_that_are_read_from_files() {
    let service = service::start(&["--service-clients", CLIENTS]).await;
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("secret", CLIENT_SECRET),
        ("cookies", r#"{"SESSIONID": "a-value-to-hide"}"#),
        (
            "cookies.txt",
            "golf.example\tFALSE\t/\tFALSE\t0\tlang\ta-value-to-hide\n",
        ),
        ("malformed.txt", "golf.example lang a-value-to-hide\n"),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let by_client = format!("--client-id {CLIENT_ID} --client-secret-file secret");
    let commands = [
        format!(
            "create --base-url https://golf.example --subject member --cookies-file cookies \
             --token-out token {by_client}"
        ),
        "show --token-file token".to_owned(),
        "cookies --import cookies.txt --token-file token".to_owned(),
        "cookies --import malformed.txt --token-file token".to_owned(),
        "cookies --token-file token".to_owned(),
        "cookies --export exported.txt --token-file token".to_owned(),
        "ttl --token-file token".to_owned(),
        format!("list --subject member {by_client}"),
        "revoke --token-file token".to_owned(),
        "show --token-file token".to_owned(),
        "show --token-file secret".to_owned(),
        "create --base-url https://golf.example --cookies-file secret".to_owned(),
        "create --base-url https://golf.example --cookies-file cookies".to_owned(),
    ];
    let mut printed = String::new();
    for json in ["", " --json"] {
        for file in ["token", "exported.txt"] {
            let _ = std::fs::remove_file(folder.path().join(file));
        }
        for command in &commands {
            let output = binary()
                .arg("session")
                .args(format!("{command}{json}").split(' '))
                .env("TSA_URL", service.base())
                .current_dir(folder.path())
                .output();
            let output = output.await.unwrap();
            printed += &String::from_utf8_lossy(&output.stdout);
            printed += &String::from_utf8_lossy(&output.stderr);
        }
        let token = std::fs::read_to_string(folder.path().join("token")).unwrap();
        for secret in [token.trim(), CLIENT_SECRET, "a-value-to-hide"] {
            assert!(!printed.contains(secret), "{secret} was printed: {printed}");
        }
    }
    assert!(printed.contains("SESSIONID"), "{printed}");
    assert!(printed.contains("2 cookies exported"), "{printed}");
    assert!(printed.contains("invalid_token"), "{printed}");
}

/// Sends valid and invalid requests that update sessions, rotate tokens, and list or end the
/// sessions of a subject. Returns the secrets in these requests and in the responses. Subjects and
/// labels count as secrets, because they identify people.
async fn update_and_rotate(service: &Service, tokens: &[String]) -> Vec<String> {
    let mut secrets: Vec<_> = [
        "s3cret-subject",
        "s3cret-label",
        "s3cret-value",
        "s3cret-tag",
    ]
    .map(str::to_owned)
    .into();
    let login = serde_json::json!({
        "cookies": {"a": "s3cret-value"},
        "base_url": "https://golf.example",
        "subject": "s3cret-subject",
        "label": "s3cret-label",
    });
    let mut logins = Vec::new();
    for login in [&login, &serde_json::json!({"subject": "s3cret-subject\n"})] {
        let request = service.request(Method::POST, "/v1/sessions").json(login);
        let body = request.send().await.unwrap().text().await.unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        logins.extend(body["access_token"].as_str().map(str::to_owned));
    }
    for token in logins.iter().chain(tokens) {
        for patch in [
            r#"{"cookies": {"s3cret-value": "s3cret-value"}}"#,
            r#"{"cookies": {"s3cret-value": "s3cret-value\n"}}"#,
            r#"{"subject": "s3cret-subject"}"#,
        ] {
            let request = service.request(Method::PATCH, "/v1/session");
            let request = request.bearer_auth(token).body(patch);
            let request = request.header("content-type", "application/merge-patch+json");
            request.send().await.unwrap();
            let request = service.request(Method::PATCH, "/v1/session");
            let request = request.bearer_auth(token).header("if-match", "s3cret-tag");
            request.send().await.unwrap();
        }
    }
    for token in &logins {
        let request = service.request(Method::POST, "/v1/session/rotate");
        let rotated = request.bearer_auth(token).send().await.unwrap();
        let body: serde_json::Value = rotated.json().await.unwrap();
        secrets.extend(body["access_token"].as_str().map(str::to_owned));
    }
    for query in [
        "subject=s3cret-subject",
        "subject=s3cret-subject&x=s3cret-value",
    ] {
        for method in [Method::GET, Method::DELETE] {
            let path = format!("/v1/sessions?{query}");
            service.request(method, &path).send().await.unwrap();
        }
    }
    let path = "/v1/sessions/s3cret-value?subject=s3cret-subject";
    service.request(Method::DELETE, path).send().await.unwrap();
    secrets.extend(logins);
    secrets
}

/// Reads and introspects the session of each token, and ends every third session. Asserts that
/// introspection succeeds if and only if Redis is available (`is_redis_up`).
async fn use_sessions(service: &Service, tokens: &[String], is_redis_up: bool) {
    for (n, token) in tokens.iter().enumerate() {
        service.status(Method::GET, "/v1/session", token).await;
        service.status(Method::GET, "/v1/session/ttl", token).await;
        let request = service.request(Method::GET, "/v1/session");
        let request = request.header("x-request-id", format!("r/{token}"));
        let answer = request.bearer_auth(token).send().await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap();
        assert!(!id.contains(token), "the request id contains the token");
        let request = service.request(Method::POST, "/v1/introspect");
        let request = request.header("x-request-id", token);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(format!("token={token}")).send().await.unwrap();
        assert_eq!(answer.status() == StatusCode::OK, is_redis_up);
        let id = answer.headers()["x-request-id"].to_str().unwrap();
        assert!(!id.contains(token), "the request id contains the token");
        if n % 3 == 0 {
            service.status(Method::DELETE, "/v1/session", token).await;
        }
    }
}
