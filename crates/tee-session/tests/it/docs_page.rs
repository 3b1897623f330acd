//! `/docs` in a browser.

use std::path::Path;

use serde_json::{Value, json};

use crate::{python_packages, service};

const CHROMIUM: &str = "/usr/bin/chromium-headless-shell";

#[tokio::test]
async fn a_call_is_tried_with_a_token_and_nobody_else_is_asked() {
    assert!(
        Path::new(CHROMIUM).exists(),
        "{CHROMIUM} is missing: scripts/setup installs it"
    );
    let service = service::start(&[]).await;
    let token = service.log_in("a1b2c3").await;
    let mut browser = python_packages::script("docs_page.py");
    browser.args([CHROMIUM, service.base(), &token]);
    let seen = python_packages::output_of(&mut browser).await;
    let seen: Value = serde_json::from_str(&seen).unwrap();

    assert_eq!(seen["status"], "200", "{seen}");
    let body = seen["body"].as_str().unwrap();
    let body: Value = serde_json::from_str(&body[body.find('{').unwrap()..]).unwrap();
    assert_eq!(body["cookies"], json!({"SESSIONID": "a1b2c3"}));
    assert_eq!(seen["complaints"], json!([]));
    assert_eq!(seen["kept"], "[{},{},\"\"]");
    let asked = seen["asked"].as_array().unwrap();
    assert!(asked.contains(&json!(format!("{}/v1/session", service.base()))));
    for url in asked {
        let ours = format!("{}/", service.base());
        assert!(url.as_str().unwrap().starts_with(&ours), "{url}");
    }
}
