//! Test of a page of a hostile site that is opened in Chromium through the gateway.

use rstest::rstest;
use serde_json::{Value, json};
use tee_session_client::{BaseUrl, Client, Cookies, SessionToken};
use tee_session_test_support::{RedisProcess, TestSite};

use super::start_gateway;
use crate::{chromium, python_packages};

/// Opens `page` and then `/docs` of the service in Chromium.
async fn open_in_chromium(page: &str, docs: &str, token: &SessionToken) -> Value {
    let mut browser = python_packages::script("hostile_page.py");
    browser.args([chromium::path(), page, docs, token.expose_secret()]);
    let seen = python_packages::output_of(&mut browser).await;
    serde_json::from_str(&seen).unwrap()
}

#[rstest]
#[case::html("text/html", include_str!("hostile_page.html"))]
#[case::svg("image/svg+xml", include_str!("hostile_page.svg"))]
#[case::xhtml("application/xhtml+xml", include_str!("hostile_page.xhtml"))]
#[case::xml_with_a_stylesheet_that_makes_html("text/xml", include_str!("hostile_page.xml"))]
#[tokio::test]
async fn page_of_a_hostile_site_runs_no_script_on_the_origin_of_the_service(
    #[case] kind: &'static str,
    #[case] page: &'static str,
) {
    let site = TestSite::answering_with(move |request| {
        let (kind, body) = if request.starts_with("GET /hostile ") {
            (kind, page)
        } else {
            ("text/javascript", "")
        };
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nService-Worker-Allowed: /\r\n\
             Content-Security-Policy: default-src * 'unsafe-inline'\r\nRefresh: 0; url=/v1/upstream/ran?field\r\n\
             Set-Cookie: hostile=1; Path=/\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    })
    .await;
    let redis = RedisProcess::start().await;
    let service = start_gateway(&redis).await;
    let client = Client::new(service.base()).unwrap();
    let base_url = BaseUrl::new(site.url()).unwrap();
    let new = client
        .create(&Cookies::default(), &base_url)
        .send()
        .await
        .unwrap();

    let docs = format!("{}/docs", service.base());
    let page = format!("{}/v1/upstream/hostile", service.base());
    let seen = open_in_chromium(&page, &docs, &new.access_token).await;
    assert_eq!(seen["storage"], json!([{}, {}, ""]), "{seen}");
    assert_eq!(seen["workers"], 0, "{seen}");
    assert_eq!(site.seen().requests("/hostile"), 1);
    assert_eq!(site.seen().total(), 1, "{seen}");

    // Checks the test itself: without the gateway, the same page succeeds with all of its attacks.
    let page = format!("{}/hostile", site.url());
    let seen = open_in_chromium(&page, &docs, &new.access_token).await;
    assert!(site.seen().total() > 4, "{seen}");
}
