//! Tests of the `tee-session session` commands against a running service.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Output, Stdio},
};

use serde_json::Value;
use tee_session_test_support::TestAuthority;

use crate::{
    operator::{COOKIES, CREATE, Operator, to_text},
    service::{self, CLIENT_ID, CLIENT_SECRET, binary, closed_pipe},
};

#[tokio::test]
async fn session_commands_read_tokens_and_cookies_from_pipes_and_print_text() {
    let operator = Operator::of_service_without_clients().await;
    let token = operator.run_successfully(CREATE, COOKIES).await;
    assert_eq!(token.lines().count(), 1, "the token alone: {token}");

    let shown = operator.run_successfully("show", &token).await;
    for word in [
        "https://golf.example",
        "SESSIONID  (hidden)",
        "lang       (hidden)",
    ] {
        assert!(shown.contains(word), "{word} is missing in {shown}");
    }
    assert!(!shown.contains("s3cret-cookie"), "{shown}");
    let revealed = operator.run_successfully("show --reveal", &token).await;
    assert!(revealed.contains("SESSIONID  s3cret-cookie"), "{revealed}");

    let left = operator.run_successfully("ttl", &token).await;
    let seconds: u32 = left.split(' ').next().unwrap().parse().unwrap();
    assert!((1_700..=1_800).contains(&seconds), "{left}");
    assert_eq!(
        operator.run_successfully("revoke", &token).await,
        "1 session ended\n"
    );
    let ended = operator.run_failing(1, "ttl", &token).await;
    assert!(ended.contains("401 invalid_token"), "{ended}");
    assert!(ended.contains("tip: the session has ended"), "{ended}");
}

#[tokio::test]
async fn session_create_leaves_out_and_names_cookies_that_a_session_cannot_hold() {
    let operator = Operator::of_service_without_clients().await;
    let cookies = r#"{"SESSIONID": "s3cret-cookie", "a;b": "s3cret-cookie"}"#;
    let created = operator.run(CREATE, cookies).await;
    assert_eq!(created.status.code(), Some(0), "{created:?}");
    let notes = to_text(&created.stderr);
    assert!(
        notes.contains("left out: a;b: A cookie name must not contain"),
        "{notes}"
    );
    assert!(!notes.contains("s3cret-cookie"), "{notes}");
    let shown = operator
        .run_successfully("show", &to_text(&created.stdout))
        .await;
    assert!(shown.contains("SESSIONID"), "{shown}");
    assert!(!shown.contains("a;b"), "{shown}");
    let created = operator.json(CREATE, cookies).await;
    assert_eq!(created["left_out"][0]["name"], "a;b", "{created}");

    let refused = operator
        .run_failing(2, CREATE, r#"{"a;b": "s3cret-cookie"}"#)
        .await;
    assert!(
        refused.contains("no cookie can be stored: A cookie name"),
        "{refused}"
    );
}

#[tokio::test]
async fn session_commands_with_the_json_flag_print_json() {
    let operator = Operator::of_service_without_clients().await;
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

    let refused = operator.run_failing(1, "show --json", token).await;
    let refused: Value = serde_json::from_str(&refused).unwrap();
    assert_eq!(refused["error"]["code"], "invalid_token");
    assert_eq!(refused["error"]["status"], 401);
}

#[tokio::test]
async fn session_create_command_writes_the_token_to_a_new_file_that_only_its_owner_can_read() {
    let operator = Operator::of_service_without_clients().await;
    fs::write(operator.path("cookies.json"), COOKIES).unwrap();
    let create = format!("{CREATE} --cookies-file cookies.json --token-out token");
    assert_eq!(operator.run_successfully(&create, "").await, "");
    let mode = fs::metadata(operator.path("token"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    operator
        .run_successfully("ttl --token-file token", "")
        .await;

    let taken = operator.run_failing(2, &create, "").await;
    assert!(taken.contains("remove the file, or use another"), "{taken}");
    operator
        .run_successfully("revoke --token-file token", "")
        .await;
    let refused = create.replace("https://golf.example", "ftp://golf.example");
    operator
        .run_failing(2, &refused.replace("token-out token", "token-out t2"), "")
        .await;
    let label = format!(
        "{} --label {}",
        create.replace("token-out token", "token-out t2"),
        "x".repeat(300)
    );
    let refused = operator.run_failing(1, &label, "").await;
    assert!(refused.contains("/label: "), "{refused}");
    assert!(!operator.path("t2").exists(), "no token, no file");
}

/// Runs `tee-session session create`. If `is_stdout_closed` is true, standard output is a pipe
/// whose reading end is closed. Otherwise, standard error is such a pipe.
async fn create_with_a_closed_output(operator: &Operator, is_stdout_closed: bool) -> Output {
    let cookies = operator.path("cookies.json");
    fs::write(&cookies, COOKIES).unwrap();
    let mut create = binary();
    create.env("TSA_URL", operator.service.base());
    create.arg("session").args(CREATE.split(' '));
    create.arg("--cookies-file").arg(cookies);
    if is_stdout_closed {
        create.stdout(closed_pipe()).stderr(Stdio::piped());
    } else {
        create.stdout(Stdio::piped()).stderr(closed_pipe());
    }
    create.spawn().unwrap().wait_with_output().await.unwrap()
}

#[tokio::test]
async fn session_create_command_whose_token_cannot_be_printed_says_how_to_end_the_session() {
    let operator = Operator::of_service_without_clients().await;
    let output = create_with_a_closed_output(&operator, true).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let message = to_text(&output.stderr);
    assert!(
        message.contains("was created, but its token cannot be written"),
        "{message}"
    );
    let (_, revoke) = message.split_once("tee-session session ").unwrap();
    assert_eq!(
        operator.run_successfully(revoke.trim(), "").await,
        "1 session ended\n"
    );
}

#[tokio::test]
async fn session_create_command_prints_the_token_if_standard_error_is_closed() {
    let operator = Operator::of_service_without_clients().await;
    let output = create_with_a_closed_output(&operator, false).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    operator
        .run_successfully("ttl", &to_text(&output.stdout))
        .await;
}

#[tokio::test]
async fn session_commands_with_client_credentials_list_and_end_the_sessions_of_a_subject() {
    let operator = Operator::of_service_with_clients().await;
    let by_client = format!("--client-id {CLIENT_ID} --client-secret-file secret");
    let create = format!("{CREATE} --subject member-4711 {by_client}");
    let mut tokens = Vec::new();
    // Creates more sessions than fit on one page of the list.
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
                .run_successfully(&format!("{create} --label {label}"), COOKIES)
                .await,
        );
    }
    let list = format!("list --subject member-4711 {by_client}");
    let listed = operator.run_successfully(&list, "").await;
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
    assert_eq!(
        operator.run_successfully(&revoke, "").await,
        "1 session ended\n"
    );
    let gone = operator.run_failing(1, &revoke, "").await;
    assert!(gone.contains("404 not_found"), "{gone}");
    operator.run_failing(1, "ttl", &tokens[1]).await;

    // One session id in 64 begins with a hyphen, as a flag does.
    let unknown = format!("revoke --session-id -MwWHJloW-pfAJptAElJ2A {by_client}");
    let gone = operator.run_failing(1, &unknown, "").await;
    assert!(gone.contains("404 not_found"), "{gone}");

    let all = format!("revoke --subject member-4711 {by_client}");
    let unasked = operator.run_failing(2, &all, "y\n").await;
    assert!(unasked.contains("nothing was ended"), "{unasked}");
    operator.run_successfully("ttl", &tokens[0]).await;
    let ended = operator.run_successfully(&format!("{all} --yes"), "").await;
    assert_eq!(ended, "102 sessions ended\n");
    operator.run_failing(1, "ttl", &tokens[0]).await;
    let none = operator.run(&list, "").await;
    assert_eq!(
        (to_text(&none.stdout), to_text(&none.stderr)),
        (String::new(), "No sessions.\n".to_owned())
    );
}

#[tokio::test]
async fn ca_file_flag_makes_session_commands_trust_a_private_certificate_authority() {
    let authority = TestAuthority::new();
    let service = service::start_https(&authority.issue("service")).await;
    let operator = Operator::of(service);
    let stranger = operator.run_failing(1, CREATE, COOKIES).await;
    assert!(stranger.contains("--ca-file"), "{stranger}");
    let trusting = format!("{CREATE} --ca-file {}", authority.ca_file().display());
    operator.run_successfully(&trusting, COOKIES).await;
}
