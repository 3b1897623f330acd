//! Test of the page `/docs` in a Chromium browser.

use serde_json::{Value, json};

use crate::{chromium, python_packages, service};

#[tokio::test]
async fn docs_page_sends_an_api_call_and_contacts_no_host_except_the_service() {
    let service = service::start(&[]).await;
    let token = service.log_in("a1b2c3").await;
    let mut browser = python_packages::script("docs_page.py");
    browser.args([chromium::path(), service.base(), &token]);
    let seen = python_packages::output_of(&mut browser).await;
    let seen: Value = serde_json::from_str(&seen).unwrap();

    assert_eq!(seen["status"], "200", "{seen}");
    let body = seen["body"].as_str().unwrap();
    let body: Value = serde_json::from_str(&body[body.find('{').unwrap()..]).unwrap();
    assert_eq!(body["cookies"], json!({"SESSIONID": "a1b2c3"}));
    assert_eq!(seen["problems"], json!([]));
    assert_eq!(seen["kept"], "[{},{},\"\"]");
    assert_eq!(seen["overlaps"], 0);
    assert!(seen["longest"].as_f64().unwrap() < 2.0, "{seen}");
    let requested = seen["requested"].as_array().unwrap();
    assert!(requested.contains(&json!(format!("{}/v1/session", service.base()))));
    for url in requested {
        let ours = format!("{}/", service.base());
        assert!(url.as_str().unwrap().starts_with(&ours), "{url}");
    }
}
