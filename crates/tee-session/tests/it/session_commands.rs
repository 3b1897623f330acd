//! `tee-session session`, against a running service.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use rstest::rstest;
use serde_json::Value;
use tee_session_test_support::{RedisProcess, TestAuthority, free_port};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::service::{self, CLIENT_ID, CLIENT_SECRET, CLIENTS, Service, binary};

const COOKIES: &str = r#"{"SESSIONID": "s3cret-cookie", "lang": "en"}"#;

/// Someone at a shell, with a service and a folder.
struct Operator {
    service: Service,
    folder: TempDir,
}

impl Operator {
    async fn of_an_open_service() -> Self {
        Self::of(service::start(&[]).await)
    }

    async fn of_a_guarded_service() -> Self {
        let operator = Self::of(service::start(&["--service-clients", CLIENTS]).await);
        fs::write(operator.path("secret"), CLIENT_SECRET).unwrap();
        operator
    }

    fn of(service: Service) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { service, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `tee-session session ...` in the folder, with this on standard input.
    async fn run(&self, arguments: &str, input: &str) -> Output {
        let mut process = binary()
            .arg("session")
            .args(arguments.split(' '))
            .env("TSA_URL", self.service.base())
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = process.stdin.take().unwrap();
        // It may end without reading what it does not need.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        process.wait_with_output().await.unwrap()
    }

    /// The same of what succeeds, with its standard output.
    async fn done(&self, arguments: &str, input: &str) -> String {
        let output = self.run(arguments, input).await;
        assert_eq!(output.status.code(), Some(0), "{arguments}: {output:?}");
        text(&output.stdout)
    }

    async fn json(&self, arguments: &str, input: &str) -> Value {
        let told = self.done(&format!("{arguments} --json"), input).await;
        serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"))
    }

    /// The same of what fails with this exit code, with its standard error.
    async fn failed(&self, code: i32, arguments: &str, input: &str) -> String {
        let output = self.run(arguments, input).await;
        assert_eq!(output.status.code(), Some(code), "{arguments}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        text(&output.stderr)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const CREATE: &str = "create --base-url https://golf.example";

#[tokio::test]
async fn a_session_is_created_shown_timed_and_revoked_through_pipes() {
    let operator = Operator::of_an_open_service().await;
    let token = operator.done(CREATE, COOKIES).await;
    assert_eq!(token.lines().count(), 1, "the token alone: {token}");

    let shown = operator.done("show", &token).await;
    for word in [
        "https://golf.example",
        "SESSIONID  (hidden)",
        "lang       (hidden)",
    ] {
        assert!(shown.contains(word), "{word} is missing in {shown}");
    }
    assert!(!shown.contains("s3cret-cookie"), "{shown}");
    let revealed = operator.done("show --reveal", &token).await;
    assert!(revealed.contains("SESSIONID  s3cret-cookie"), "{revealed}");

    let left = operator.done("ttl", &token).await;
    assert!(
        left.starts_with("1799 s") || left.starts_with("1800 s"),
        "{left}"
    );
    assert_eq!(operator.done("revoke", &token).await, "1 session ended\n");
    let ended = operator.failed(1, "ttl", &token).await;
    assert!(ended.contains("401 invalid_token"), "{ended}");
    assert!(ended.contains("tip: the session has ended"), "{ended}");
}

#[tokio::test]
async fn programs_get_json() {
    let operator = Operator::of_an_open_service().await;
    let new = operator
        .json(
            &format!("{CREATE} --subject member-4711 --label tablet"),
            COOKIES,
        )
        .await;
    let token = new["access_token"].as_str().unwrap();
    assert_eq!(new["expires_in"], 1_800);

    let shown = operator.json("show", token).await;
    assert_eq!(shown["session_id"], new["session_id"]);
    assert_eq!(shown["subject"], "member-4711");
    assert_eq!(
        shown["cookie_names"],
        serde_json::json!(["SESSIONID", "lang"])
    );
    assert_eq!(shown.get("cookies"), None);
    let revealed = operator.json("show --reveal", token).await;
    assert_eq!(revealed["cookies"]["SESSIONID"], "s3cret-cookie");
    assert!(operator.json("ttl", token).await["ttl"].as_u64().unwrap() > 1_700);

    let listed = operator.json("list --subject member-4711", "").await;
    assert_eq!(listed["sessions"][0]["session_id"], new["session_id"]);
    assert_eq!(listed["sessions"][0]["label"], "tablet");
    assert_eq!(operator.json("revoke", token).await["revoked"], 1);

    let refused = operator.failed(1, "show --json", token).await;
    let refused: Value = serde_json::from_str(&refused).unwrap();
    assert_eq!(refused["error"]["code"], "invalid_token");
    assert_eq!(refused["error"]["status"], 401);
}

#[tokio::test]
async fn a_token_is_kept_in_a_new_file_that_nobody_else_may_read() {
    let operator = Operator::of_an_open_service().await;
    fs::write(operator.path("cookies.json"), COOKIES).unwrap();
    let create = format!("{CREATE} --cookies-file cookies.json --token-out token");
    assert_eq!(operator.done(&create, "").await, "");
    let mode = fs::metadata(operator.path("token"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    operator.done("ttl --token-file token", "").await;

    let taken = operator.failed(2, &create, "").await;
    assert!(taken.contains("remove it, or name another"), "{taken}");
    operator.done("revoke --token-file token", "").await;
    let refused = create.replace("https://golf.example", "ftp://golf.example");
    operator
        .failed(2, &refused.replace("token-out token", "token-out t2"), "")
        .await;
    let label = format!(
        "{} --label {}",
        create.replace("token-out token", "token-out t2"),
        "x".repeat(300)
    );
    let refused = operator.failed(1, &label, "").await;
    assert!(refused.contains("/label: "), "{refused}");
    assert!(!operator.path("t2").exists(), "no token, no file");
}

#[tokio::test]
async fn a_subjects_sessions_are_listed_and_ended_by_a_service_client() {
    let operator = Operator::of_a_guarded_service().await;
    let by_client = format!("--client-id {CLIENT_ID} --client-secret-file secret");
    let create = format!("{CREATE} --subject member-4711 {by_client}");
    let mut tokens = Vec::new();
    // More than a page.
    for _ in 0..101 {
        let body = serde_json::json!({
            "cookies": {"a": "1"}, "base_url": "https://golf.example", "subject": "member-4711",
        });
        let request = operator
            .service
            .request(reqwest::Method::POST, "/v1/sessions");
        let request = request
            .basic_auth(CLIENT_ID, Some(CLIENT_SECRET))
            .json(&body);
        request.send().await.unwrap().error_for_status().unwrap();
    }
    for label in ["telephone", "tablet"] {
        tokens.push(
            operator
                .done(&format!("{create} --label {label}"), COOKIES)
                .await,
        );
    }
    let list = format!("list --subject member-4711 {by_client}");
    let listed = operator.done(&list, "").await;
    assert_eq!(listed.lines().count(), 1 + 103, "{listed}");
    let head = listed.lines().next().unwrap();
    assert!(
        head.starts_with("SESSION ID              CREATED"),
        "{head}"
    );
    let last = listed.lines().last().unwrap();
    assert!(last.ends_with("  tablet"), "{last}");

    let id = last.split(' ').next().unwrap();
    let revoke = format!("revoke --session-id {id} {by_client}");
    assert_eq!(operator.done(&revoke, "").await, "1 session ended\n");
    let gone = operator.failed(1, &revoke, "").await;
    assert!(gone.contains("404 not_found"), "{gone}");
    operator.failed(1, "ttl", &tokens[1]).await;

    let all = format!("revoke --subject member-4711 {by_client}");
    let unasked = operator.failed(2, &all, "y\n").await;
    assert!(unasked.contains("nothing was ended"), "{unasked}");
    operator.done("ttl", &tokens[0]).await;
    let ended = operator.done(&format!("{all} --yes"), "").await;
    assert_eq!(ended, "102 sessions ended\n");
    operator.failed(1, "ttl", &tokens[0]).await;
    let none = operator.run(&list, "").await;
    assert_eq!(
        (text(&none.stdout), text(&none.stderr)),
        (String::new(), "No sessions.\n".to_owned())
    );
}

#[tokio::test]
async fn without_a_client_a_guarded_service_refuses_and_the_tip_says_how() {
    let operator = Operator::of_a_guarded_service().await;
    let refused = operator.failed(1, CREATE, COOKIES).await;
    assert!(refused.contains("401 invalid_client"), "{refused}");
    assert!(
        refused.contains("tip: name a client of the service"),
        "{refused}"
    );
    let by_stdin = format!("list --subject m --client-id {CLIENT_ID} --client-secret-file -");
    operator
        .done(&by_stdin, &format!("{CLIENT_SECRET}\n"))
        .await;
    let both = format!("{CREATE} --client-id {CLIENT_ID} --client-secret-file -");
    let refused = operator.failed(2, &both, COOKIES).await;
    assert!(refused.contains("cannot hold two things"), "{refused}");
}

/// What is given is wrong, and not repeated where it may be a secret.
#[rstest]
#[case::no_token("show", "s3cret-no-token", "is no token")]
#[case::nothing("show", "", "is no token")]
#[case::token_as_argument("show s3cret-token", "", "does not belong on the command line")]
#[case::token_to_revoke("revoke s3cret-token", "", "does not belong on the command line")]
#[case::token_as_flag("ttl --token=s3cret-token", "", "unexpected argument '--token'")]
#[case::token_as_id("revoke --session-id s3cret-token", "", "a session id is")]
#[case::secret_as_flag(
    "list --subject m --client-secret=s3cret",
    "",
    "unexpected argument '--client-secret'"
)]
#[case::password_in_base_url(
    "create --base-url https://u:s3cret@golf.example",
    "{}",
    "--base-url: "
)]
#[case::bad_cookies(CREATE, r#"{"a": s3cret}"#, "the cookies must be a JSON object")]
#[case::no_file("ttl --token-file /nonexistent", "", "the token cannot be read: ")]
#[case::no_url(
    "ttl --url ftp://x",
    "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "the URL of the service"
)]
#[case::no_authorities(
    "ttl --ca-file /nonexistent",
    "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "/nonexistent cannot be read"
)]
#[case::id_and_subject("revoke --session-id x --subject y", "", "cannot be used with")]
#[case::id_alone("list --subject m --client-id x", "", "--client-secret-file")]
#[case::no_subject("list", "", "--subject")]
#[tokio::test]
async fn a_wrong_command_line_or_input_ends_it_with_2(
    #[case] arguments: &str,
    #[case] input: &str,
    #[case] said: &str,
) {
    // Nobody is asked.
    let mut process = binary()
        .arg("session")
        .args(arguments.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = process.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = text(&output.stderr);
    assert!(told.contains(said), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let output = binary()
        .args(["session", "list", "--subject", "m", "--url", &url])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(
        told.contains("no connection to the service: Connection refused"),
        "{told}"
    );
    assert!(told.contains("tip: see that the service runs"), "{told}");
}

#[tokio::test]
async fn an_outage_of_the_store_leads_to_the_check_of_redis() {
    let mut redis = RedisProcess::start().await;
    let service = service::start(&["--redis-url", &redis.url()]).await;
    service.until_ready(Duration::from_secs(5)).await;
    let operator = Operator::of(service);
    let token = operator.done(CREATE, COOKIES).await;
    redis.kill().await;
    let told = operator.failed(1, "show", &token).await;
    assert!(told.contains("503 store_unavailable"), "{told}");
    assert!(
        told.contains("tee-session check-config --connect"),
        "{told}"
    );
}

#[tokio::test]
async fn over_https_a_private_authority_is_named_by_a_flag() {
    let authority = TestAuthority::new();
    let certificate = authority.issue("service");
    let mut service = service::start(&[
        "--tls-certificate-file",
        certificate.certificate_file.to_str().unwrap(),
        "--tls-private-key-file",
        certificate.private_key_file.to_str().unwrap(),
    ])
    .await;
    service.speak_https(reqwest::Client::new());
    let operator = Operator::of(service);
    let stranger = operator.failed(1, CREATE, COOKIES).await;
    assert!(stranger.contains("--ca-file"), "{stranger}");
    let trusting = format!("{CREATE} --ca-file {}", authority.ca_file().display());
    operator.done(&trusting, COOKIES).await;
}
