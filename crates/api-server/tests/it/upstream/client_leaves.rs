//! Tests that an exchange continues if its client disconnects, and that a shutdown waits for the
//! exchange.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tee_session_test_support::{TestSite, eventually};
use tokio::{io::AsyncWriteExt, sync::Notify};

use super::{gateway, with_metrics};
use crate::{
    metrics::scrape,
    test_app::{Store, TestApp},
};

/// Starts a site that answers with a new cookie after `answer` was notified.
async fn waiting_site(answer: &'static Notify) -> TestSite {
    TestSite::start(move |mut stream, seen| async move {
        while seen.read_request(&mut stream).await.is_some() {
            answer.notified().await;
            let head =
                "HTTP/1.1 200 OK\r\nSet-Cookie: sid=2; Path=/\r\nContent-Length: 2\r\n\r\nok";
            if stream.write_all(head.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await
}

fn notify() -> &'static Notify {
    Box::leak(Box::default())
}

#[tokio::test]
async fn cookie_of_an_answer_is_stored_even_if_the_client_has_disconnected() {
    let answer = notify();
    let site = waiting_site(answer).await;
    let app = TestApp::builder().with(gateway).with(with_metrics);
    let app = app.spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let call = tokio::spawn(app.upstream(Method::POST, &token, "/book").send());
    eventually(Duration::from_secs(5), async || site.seen().total() == 1).await;
    // Aborting the task closes the connection of the client.
    call.abort();
    assert!(call.await.is_err());
    tokio::time::sleep(Duration::from_millis(100)).await;
    answer.notify_one();
    eventually(Duration::from_secs(5), async || {
        app.cookies(&token).await == json!({"sid": "2"})
    })
    .await;
    assert_eq!(site.seen().total(), 1);
    let abandoned =
        r#"tee_session_upstream_requests_total{site="127.0.0.1",outcome="abandoned"} 1"#;
    eventually(Duration::from_secs(5), async || {
        scrape(&app).await.contains(abandoned)
    })
    .await;
}

#[tokio::test]
async fn shutdown_waits_for_the_answer_of_a_site() {
    let answer = notify();
    let site = waiting_site(answer).await;
    let mut app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let call = tokio::spawn(app.upstream(Method::GET, &token, "/").send());
    eventually(Duration::from_secs(5), async || site.seen().total() == 1).await;
    app.trigger_shutdown();
    tokio::time::sleep(Duration::from_millis(300)).await;
    answer.notify_one();
    let response = call.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.text().await.unwrap(), "ok");
    app.shut_down().await;
}
