//! Tests of `tee-session client new`, which creates a service client.

use rstest::rstest;

use crate::{
    command_line::{run, to_text},
    service,
};

#[tokio::test]
async fn service_client_created_by_the_command_client_new_is_accepted_by_the_service() {
    let made = run(&["client", "new", "--id", "ci", "--scope", "create"], &[]).await;
    assert_eq!(made.status.code(), Some(0), "{}", to_text(&made.stderr));
    let shown = to_text(&made.stdout);
    let secret = shown
        .lines()
        .map(str::trim)
        .find(|line| line.len() == 43)
        .unwrap();
    let setting = shown
        .lines()
        .find_map(|line| line.trim().strip_prefix("TSA_SERVICE_CLIENTS='"));
    let setting = setting.unwrap().strip_suffix('\'').unwrap();
    let service = service::start(&["--service-clients", setting]).await;
    let create = |secret: &str| {
        service
            .request(reqwest::Method::POST, "/v1/sessions")
            .basic_auth("ci", Some(secret))
            .json(&serde_json::json!({"cookies": {"a": "1"}, "base_url": "https://golf.example"}))
            .send()
    };
    assert_eq!(create(secret).await.unwrap().status(), 201);
    assert_eq!(create("another").await.unwrap().status(), 401);
    assert!(!setting.contains(secret));
}

#[tokio::test]
async fn json_output_of_the_client_new_command_contains_a_usable_secret_and_settings_entry() {
    let new = [
        "client", "new", "--id", "ci", "--scope", "create", "--scope", "admin", "--json",
    ];
    let made = run(&new, &[]).await;
    assert_eq!(made.status.code(), Some(0), "{}", to_text(&made.stderr));
    let output: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let entry = &output["service_client"];
    assert_eq!(entry["scopes"], serde_json::json!(["create", "admin"]));
    let service = service::start(&["--service-clients", &format!("[{entry}]")]).await;
    let request = service.request(reqwest::Method::GET, "/v1/sessions?subject=m");
    let listed = request
        .basic_auth("ci", output["secret"].as_str())
        .send()
        .await;
    assert_eq!(listed.unwrap().status(), 200);
}

#[rstest]
#[case::no_id(&["client", "new", "--scope", "create"])]
#[case::no_scope(&["client", "new", "--id", "ci"])]
#[case::unknown_scope(&["client", "new", "--id", "ci", "--scope", "fly"])]
#[case::no_subcommand(&["client"])]
#[tokio::test]
async fn client_command_with_a_missing_or_unknown_argument_exits_with_2(
    #[case] arguments: &[&str],
) {
    assert_eq!(run(arguments, &[]).await.status.code(), Some(2));
}

#[rstest]
#[case::colon("a:b")]
#[case::space("a b")]
#[case::empty("")]
#[tokio::test]
async fn client_new_command_with_an_invalid_client_id_exits_with_2(#[case] id: &str) {
    let made = run(&["client", "new", "--id", id, "--scope", "create"], &[]).await;
    assert_eq!(made.status.code(), Some(2));
    let error = to_text(&made.stderr);
    let allowed = "id must be 1 to 128 visible ASCII characters other than a colon, without spaces, \
                   such as booking-api";
    let expected = "error: invalid value for '--id <ID>': ";
    assert!(error.starts_with(expected), "{error}");
    assert!(error.trim_end().ends_with(allowed), "{error}");
    assert!(id.is_empty() || !error.contains(id), "{error}");
    assert!(made.stdout.is_empty());
}
