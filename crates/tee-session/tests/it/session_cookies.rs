//! Tests of the command `tee-session session cookies`, which shows, imports and exports the cookies
//! of a session.

use std::{fs, os::unix::fs::PermissionsExt};

use rstest::rstest;
use serde_json::{Value, json};

use crate::operator::{Operator, to_text};

const CREATE: &str = "create --base-url http://www.golf.example --token-out token";

const FILE: &str = "\
# Netscape HTTP Cookie File

www.golf.example\tFALSE\t/\tTRUE\t0\tSESSIONID\ts3cret-1
#HttpOnly_.golf.example\tTRUE\t/members\tFALSE\t4102444800\tlang\ts3cret-2
www.golf.example\tFALSE\t/x\tFALSE\t0\tlang\ts3cret-3
www.golf.example\tFALSE\t/\tFALSE\t0\t\tflag
www.golf.example\tFALSE\t/\tFALSE\t0\tsemicolon\ts3cret;4
www.golf.example\tFALSE\t/\tFALSE\t0\t__Host-id\ts3cret-5
www.golf.example\tFALSE\t/\tFALSE\t1\told\ts3cret-6
tennis.example\tFALSE\t/\tFALSE\t0\ta\ts3cret-7
golf.example\tFALSE\t/\tFALSE\t0\ta\ts3cret-8
";

async fn operator_with_session() -> Operator {
    let operator = Operator::of_service_without_clients().await;
    let create = CREATE.replace("http:", "https:");
    operator.run_successfully(&create, r#"{"old": "1"}"#).await;
    operator
}

#[tokio::test]
async fn import_adds_the_cookies_of_the_site_and_reports_all_other_cookies() {
    let operator = operator_with_session().await;
    let output = operator
        .run("cookies --import - --token-file token", FILE)
        .await;
    assert_eq!(output.status.code(), Some(1), "two cookies are left out");
    assert_eq!(to_text(&output.stdout), "4 cookies imported\n");
    let report = to_text(&output.stderr);
    for line in [
        "left out: line 7, semicolon: A value with ; cannot be set",
        "left out: line 8, __Host-id: Its name begins with __Host- or __Secure-",
        "not imported: 1 expired cookie\n",
        "not imported: 2 cookies of other hosts\n",
        "2 cookies of the file were left out",
    ] {
        assert!(report.contains(line), "{line} is missing in {report}");
    }
    assert!(!report.contains("s3cret"), "{report}");

    let shown = operator
        .json("cookies --reveal --token-file token", "")
        .await;
    // The file contains an expired cookie. The import has not removed the cookie with the same name
    // from the session.
    let expected = json!([
        {"name": "old", "value": "1"},
        {"name": "SESSIONID", "value": "s3cret-1", "domain": "www.golf.example", "host_only": true,
         "path": "/", "secure": true, "expires": null},
    ]);
    let cookies = shown["cookies"].as_array().unwrap();
    assert_eq!(json!(cookies[..2]), expected);
    let lang: Vec<_> = cookies
        .iter()
        .filter(|cookie| cookie["name"] == "lang")
        .collect();
    assert_eq!(lang.len(), 2, "two cookies of one name: {lang:?}");
    let of_the_domain = lang
        .iter()
        .find(|cookie| cookie["domain"] == "golf.example")
        .unwrap();
    assert_eq!(of_the_domain["value"], "s3cret-2");
    assert_eq!(of_the_domain["host_only"], false);
    assert_ne!(of_the_domain["expires"], Value::Null);
    assert!(
        cookies
            .iter()
            .any(|cookie| cookie["name"] == "" && cookie["value"] == "flag")
    );
}

#[tokio::test]
async fn cookie_import_with_the_json_flag_prints_its_report_as_json() {
    let operator = operator_with_session().await;
    fs::write(operator.path("cookies.txt"), FILE).unwrap();
    let import = "cookies --import cookies.txt --json --token-file token";
    let output = operator.run(import, "").await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["imported"], &report["expired"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(report["of_other_hosts"], 2);
    assert_eq!(report["left_out"][0]["line"], 7);
    assert_eq!(report["left_out"][0]["name"], "semicolon");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        error["error"]["what"],
        "2 cookies of the file were left out"
    );
}

#[tokio::test]
async fn import_names_each_cookie_that_a_later_cookie_of_the_file_replaces() {
    let operator = operator_with_session().await;
    let file = "www.golf.example\tFALSE\t/\tFALSE\t0\t\ts3cret-1\n\
                www.golf.example\tFALSE\t/\tFALSE\t0\ta\ts3cret-2\n\
                www.golf.example\tFALSE\t/x\tFALSE\t0\t\ts3cret-3\n\
                www.golf.example\tFALSE\t/\tFALSE\t0\t\ts3cret-4\n";
    let output = operator
        .run("cookies --import - --token-file token", file)
        .await;
    assert_eq!(output.status.code(), Some(1), "one cookie is replaced");
    assert_eq!(to_text(&output.stdout), "3 cookies imported\n");
    let report = to_text(&output.stderr);
    for line in [
        "left out: line 1, (no name): A later cookie of the file has the same name",
        "1 cookie of the file was left out",
    ] {
        assert!(report.contains(line), "{line} is missing in {report}");
    }
    assert!(!report.contains("s3cret"), "{report}");

    let shown = operator
        .json("cookies --reveal --token-file token", "")
        .await;
    let cookies = shown["cookies"].as_array().unwrap();
    let mut values: Vec<_> = cookies
        .iter()
        .filter_map(|cookie| cookie["value"].as_str())
        .collect();
    values.sort_unstable();
    assert_eq!(values, ["1", "s3cret-2", "s3cret-3", "s3cret-4"]);
}

#[rstest]
#[case::fields(
    "golf.example\tFALSE\ts3cret",
    "line 10: a cookie has fewer than six fields"
)]
#[case::not_utf_8(
    "www.golf.example\tFALSE\t/\tFALSE\t0\ta\ts3cret-\u{fffd}",
    "line 10 is not UTF-8"
)]
#[tokio::test]
async fn import_of_a_malformed_cookie_file_exits_with_2_and_changes_no_cookie(
    #[case] line: &str,
    #[case] expected: &str,
) {
    let operator = operator_with_session().await;
    let before = operator
        .json("cookies --reveal --token-file token", "")
        .await;
    let file = FILE.lines().take(9).collect::<Vec<_>>().join("\n") + "\n" + line;
    // U+FFFD stands for a byte that is not UTF-8.
    let file = file.into_bytes();
    let file = file
        .split(|byte| *byte == 0xef)
        .collect::<Vec<_>>()
        .join(&0xff);
    fs::write(operator.path("cookies.txt"), file).unwrap();
    let import = "cookies --import cookies.txt --token-file token";
    let message = operator.run_failing(2, import, "").await;
    assert!(message.contains(expected), "{message}");
    assert!(message.contains("nothing was imported"), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
    let after = operator
        .json("cookies --reveal --token-file token", "")
        .await;
    assert_eq!(after["cookies"], before["cookies"]);
}

#[tokio::test]
async fn import_of_a_cookie_file_without_cookies_for_the_host_of_the_session_exits_with_1() {
    let operator = operator_with_session().await;
    let file = "tennis.example\tFALSE\t/\tFALSE\t0\ta\t1\n";
    let message = operator
        .run_failing(1, "cookies --import - --token-file token", file)
        .await;
    assert!(
        message.contains("no cookies for the host of the session, www.golf.example"),
        "{message}"
    );
}

#[tokio::test]
async fn cookie_attributes_are_always_shown_and_cookie_values_only_with_the_flag_reveal() {
    let operator = operator_with_session().await;
    operator
        .run("cookies --import - --token-file token", FILE)
        .await;
    let shown = operator
        .run_successfully("cookies --token-file token", "")
        .await;
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let lines: Vec<_> = shown.lines().map(words).collect();
    for line in [
        "NAME VALUE DOMAIN PATH EXPIRES SCHEME",
        "old (hidden) (host) any - any",
        "SESSIONID (hidden) www.golf.example / - https",
    ] {
        assert!(lines.contains(&words(line)), "{line} is missing in {shown}");
    }
    assert!(shown.contains(".golf.example"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let revealed = operator
        .run_successfully("cookies --reveal --token-file token", "")
        .await;
    assert!(revealed.contains("s3cret-1"), "{revealed}");
    let json = operator.json("cookies --token-file token", "").await;
    assert!(!json.to_string().contains("s3cret"), "{json}");
}

#[tokio::test]
async fn cookie_export_replaces_no_file_and_creates_a_file_that_only_its_owner_can_read() {
    let operator = operator_with_session().await;
    let export = "cookies --export cookies.txt --token-file token";
    operator.run_successfully(export, "").await;
    let file = operator.path("cookies.txt");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let before = fs::read_to_string(&file).unwrap();
    let message = operator.run_failing(2, export, "").await;
    assert!(
        message.contains("remove the file, or use another one with --export"),
        "{message}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), before);

    let to_stdout = "cookies --export - --token-file token";
    assert_eq!(operator.run_successfully(to_stdout, "").await, before);
    let state = operator
        .run_successfully(&format!("{to_stdout} --format storage-state"), "")
        .await;
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["cookies"][0]["domain"], "www.golf.example");
}

#[tokio::test]
async fn cookie_export_leaves_out_and_names_cookies_that_the_file_cannot_contain() {
    let operator = Operator::of_service_without_clients().await;
    let cookies = r#"{"good": "1", "semicolon": "s3cret;1", "tab": "s3cret\t2", "flag": null}"#;
    operator.run_successfully(CREATE, cookies).await;
    let export = "cookies --export cookies.txt --token-file token";
    let message = operator.run_failing(1, export, "").await;
    for line in [
        "left out: semicolon: its value",
        "left out: tab: it contains a TAB",
        "2 cookies exported",
    ] {
        assert!(message.contains(line), "{line} is missing in {message}");
    }
    assert!(!message.contains("s3cret"), "{message}");
    let file = fs::read_to_string(operator.path("cookies.txt")).unwrap();
    assert!(
        file.contains("\tgood\t1\n") && file.contains("\t\tflag\n"),
        "{file}"
    );
    assert!(!file.contains("s3cret"), "{file}");
}

#[tokio::test]
async fn netscape_file_contains_all_cookies_without_a_name() {
    let operator = Operator::of_service_without_clients().await;
    let cookies = r#"{"flag": null, "": "token", "further": null}"#;
    operator.run_successfully(CREATE, cookies).await;
    let export = "cookies --export - --token-file token";
    let file = operator.run_successfully(export, "").await;
    for value in ["flag", "token", "further"] {
        assert!(file.contains(&format!("\t\t{value}\n")), "{file}");
    }
}

#[tokio::test]
async fn storage_state_contains_one_cookie_without_a_name_and_the_others_are_named() {
    let operator = Operator::of_service_without_clients().await;
    let cookies = r#"{"good": "1", "flag": null, "": "s3cret", "further": null}"#;
    operator.run_successfully(CREATE, cookies).await;
    let export = "cookies --export state.json --token-file token";
    let message = operator.run_failing(1, export, "").await;
    for line in [
        "left out: (no name): the file contains another cookie",
        "left out: further: the file contains another cookie",
        "2 cookies exported",
    ] {
        assert!(message.contains(line), "{line} is missing in {message}");
    }
    assert!(!message.contains("s3cret"), "{message}");
    let content = fs::read_to_string(operator.path("state.json")).unwrap();
    assert!(content.contains("\"value\": \"flag\""), "{content}");
    assert!(
        !content.contains("s3cret") && !content.contains("further"),
        "{content}"
    );
}

#[tokio::test]
async fn exported_storage_state_contains_no_cookie_without_a_name_whose_value_has_a_prefix() {
    let operator = Operator::of_service_without_clients().await;
    let cookies = r#"{"good": "1", "__host-flag": null}"#;
    operator.run_successfully(CREATE, cookies).await;
    let export = "cookies --export state.json --token-file token";
    let message = operator.run_failing(1, export, "").await;
    for line in [
        "left out: __host-flag: it is written without a name",
        "1 cookie exported",
    ] {
        assert!(message.contains(line), "{line} is missing in {message}");
    }
    let state = fs::read_to_string(operator.path("state.json")).unwrap();
    assert!(!state.contains("__host-flag"), "{state}");
}
