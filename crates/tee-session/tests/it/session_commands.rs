//! `tee-session session`, against a running service.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;
use tee_session_test_support::TestAuthority;

use crate::{
    operator::{COOKIES, CREATE, Operator, text},
    service::{self, CLIENT_ID, CLIENT_SECRET},
};

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
    let seconds: u32 = left.split(' ').next().unwrap().parse().unwrap();
    assert!((1_700..=1_800).contains(&seconds), "{left}");
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

    // As one in 64 begins.
    let unknown = format!("revoke --session-id -MwWHJloW-pfAJptAElJ2A {by_client}");
    let gone = operator.failed(1, &unknown, "").await;
    assert!(gone.contains("404 not_found"), "{gone}");

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
async fn over_https_a_private_authority_is_named_by_a_flag() {
    let authority = TestAuthority::new();
    let service = service::start_https(&authority.issue("service")).await;
    let operator = Operator::of(service);
    let stranger = operator.failed(1, CREATE, COOKIES).await;
    assert!(stranger.contains("--ca-file"), "{stranger}");
    let trusting = format!("{CREATE} --ca-file {}", authority.ca_file().display());
    operator.done(&trusting, COOKIES).await;
}
