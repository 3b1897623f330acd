//! Tests of cookies in an exchange: the cookies of an answer are stored in the session before the
//! client gets the answer.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::json;
use tee_session_api_server::UpstreamSettings;
use tee_session_test_support::TestSite;
use tokio::{
    io::AsyncWriteExt,
    sync::{mpsc, oneshot},
};

use super::{OK, gateway, gateway_with};
use crate::test_app::{Store, TestApp};

/// Starts a site that answers a request for `/set/NAME/VALUE` by setting the cookie `NAME`.
pub(super) async fn setting_site() -> TestSite {
    TestSite::answering_with(|request| {
        let target = request.split(' ').nth(1).unwrap_or_default();
        let mut parts = target.split('/').skip(2);
        match (parts.next(), parts.next()) {
            (Some(name), Some(value)) => format!(
                "HTTP/1.1 302 Found\r\nSet-Cookie: {name}={value}; Path=/\r\nLocation: /\r\n\
                 Content-Length: 0\r\n\r\n"
            ),
            _ => OK.to_owned(),
        }
    })
    .await
}

#[rstest]
#[tokio::test]
async fn cookie_of_an_answer_is_sent_with_the_next_request(
    #[values(Store::Memory, Store::Redis)] store: Store,
) {
    let site = setting_site().await;
    let app = TestApp::builder().with(gateway).spawn(store).await;
    let token = app.log_in_to(&site).await;
    // reqwest follows the redirect, so that the second request comes at once.
    let response = app
        .upstream(Method::GET, &token, "/set/sid/2")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("set-cookie"));
    assert!(!response.headers().contains_key("x-upstream-cookies"));
    let head = site.seen().last_head();
    assert!(head.contains("\r\nCookie: sid=2\r\n"), "{head}");
    assert_eq!(app.cookies(&token).await, json!({"sid": "2"}));
}

#[tokio::test]
async fn cookies_of_a_too_long_answer_are_stored() {
    let site = TestSite::answering(
        "HTTP/1.1 200 OK\r\nSet-Cookie: sid=2; Path=/\r\nContent-Length: 11\r\n\r\nhello world",
    )
    .await;
    let short = |upstream: &mut UpstreamSettings| upstream.client.max_response_bytes = Some(10);
    let app = TestApp::builder()
        .with(gateway_with(short))
        .spawn(Store::Memory)
        .await;
    let token = app.log_in_to(&site).await;
    let call = app.upstream(Method::GET, &token, "/download");
    let response = call.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let problem: serde_json::Value = response.json().await.unwrap();
    assert_eq!(problem["outcome"], "unknown");
    assert_eq!(app.cookies(&token).await, json!({"sid": "2"}));
}

#[tokio::test]
async fn session_without_cookies_can_log_in_to_the_site_through_the_gateway() {
    let site = setting_site().await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_with(json!({}), &site.url()).await;
    app.upstream(Method::POST, &token, "/set/sid/7")
        .send()
        .await
        .unwrap();
    assert_eq!(app.cookies(&token).await, json!({"sid": "7"}));
}

#[tokio::test]
async fn cookies_of_concurrent_answers_are_all_stored() {
    let site = setting_site().await;
    let more = |upstream: &mut UpstreamSettings| {
        upstream.limits.session_concurrency = 50;
        upstream.limits.max_in_flight = 1_000;
    };
    let app = TestApp::builder()
        .with(gateway_with(more))
        .spawn(Store::Memory)
        .await;
    let token = app.log_in_with(json!({}), &site.url()).await;
    let calls = (0..20).map(|index| {
        let path = format!("/set/c{index}/{index}");
        app.upstream(Method::PUT, &token, &path).send()
    });
    for response in futures_util::future::join_all(calls).await {
        assert!(
            !response
                .unwrap()
                .headers()
                .contains_key("x-upstream-cookies")
        );
    }
    let cookies = app.cookies(&token).await;
    assert_eq!(cookies.as_object().unwrap().len(), 20, "{cookies}");
}

/// Starts a site with answers that the test controls. Returns the site and a channel. For each
/// request, the test receives the request and a sender from the channel, and sends the answer
/// through this sender.
pub(super) async fn controlled_site() -> (
    TestSite,
    mpsc::UnboundedReceiver<(String, oneshot::Sender<String>)>,
) {
    let (requests, received) = mpsc::unbounded_channel();
    let site = TestSite::start(move |mut stream, seen| {
        let requests = requests.clone();
        async move {
            while let Some(request) = seen.read_request(&mut stream).await {
                let (answer, answered) = oneshot::channel::<String>();
                if requests.send((request, answer)).is_err() {
                    return;
                }
                let Ok(answer) = answered.await else { return };
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (site, received)
}

pub(super) fn setting(line: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nSet-Cookie: {line}\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn late_answer_that_removes_an_old_cookie_value_does_not_remove_the_new_value() {
    let (site, mut requests) = controlled_site().await;
    let app = TestApp::builder().with(gateway).spawn(Store::Memory).await;
    let token = app.log_in_to(&site).await;
    let slow = tokio::spawn(app.upstream(Method::GET, &token, "/slow").send());
    let (_, slow_answer) = requests.recv().await.unwrap();
    let login = tokio::spawn(app.upstream(Method::POST, &token, "/login").send());
    let (_, login_answer) = requests.recv().await.unwrap();
    login_answer.send(setting("sid=2; Path=/")).unwrap();
    login.await.unwrap().unwrap();
    slow_answer
        .send(setting("sid=; Path=/; Max-Age=0"))
        .unwrap();
    slow.await.unwrap().unwrap();
    assert_eq!(app.cookies(&token).await, json!({"sid": "2"}));

    // The request carried this value, so the removal of the cookie is applied.
    let logout = tokio::spawn(app.upstream(Method::GET, &token, "/logout").send());
    let (_, answer) = requests.recv().await.unwrap();
    answer.send(setting("sid=; Path=/; Max-Age=0")).unwrap();
    logout.await.unwrap().unwrap();
    assert_eq!(app.cookies(&token).await, json!({}));
}

#[tokio::test]
async fn with_one_request_per_session_at_a_time_each_has_the_cookies_of_the_previous_answer() {
    let (site, mut requests) = controlled_site().await;
    let one = |upstream: &mut UpstreamSettings| upstream.limits.session_concurrency = 1;
    let app = TestApp::builder()
        .with(gateway_with(one))
        .spawn(Store::Memory)
        .await;
    let token = app.log_in_to(&site).await;
    let calls: Vec<_> = (0..4)
        .map(|_| tokio::spawn(app.upstream(Method::GET, &token, "/rotate").send()))
        .collect();
    for value in 1..=4 {
        let (request, answer) = requests.recv().await.unwrap();
        assert!(
            request.contains(&format!("\r\nCookie: sid={value}\r\n")),
            "{request}"
        );
        answer
            .send(setting(&format!("sid={}; Path=/", value + 1)))
            .unwrap();
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    assert_eq!(site.seen().total(), 4);
}

/// The site rotates its cookie with each answer, and rejects requests with an old cookie. Two
/// clients send requests at the same time, so one client often sends a request just when the
/// exchange of the other client ends. No request may have an old cookie.
///
/// The test needs Redis, where a load takes a round trip. During this time, the exchange of the
/// other client can end. With the embedded store, a load is too short for this.
#[tokio::test]
async fn with_one_request_per_session_at_a_time_no_request_carries_an_outdated_cookie() {
    const CALLS: usize = 100;
    let value = AtomicUsize::new(1);
    let site = TestSite::answering_with(move |request| {
        let current = value.load(Ordering::SeqCst);
        if !request.contains(&format!("\r\nCookie: sid={current}\r\n")) {
            return "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned();
        }
        value.store(current + 1, Ordering::SeqCst);
        setting(&format!("sid={}; Path=/", current + 1))
    })
    .await;
    let one = |upstream: &mut UpstreamSettings| upstream.limits.session_concurrency = 1;
    let app = TestApp::builder()
        .with(gateway_with(one))
        .spawn(Store::Redis)
        .await;
    let token = app.log_in_to(&site).await;
    let client = async || {
        for _ in 0..CALLS {
            let call = app.upstream(Method::GET, &token, "/rotate").send();
            assert_eq!(call.await.unwrap().status(), StatusCode::OK);
        }
    };
    tokio::join!(client(), client());
    let last = (2 * CALLS + 1).to_string();
    assert_eq!(app.cookies(&token).await, json!({"sid": last}));
}

/// The answers to 50 parallel requests rotate one cookie. The last answer removes the cookie, but
/// its request was sent with a value that is outdated by then. The removal must be ignored.
#[rstest]
#[case::session_stays(false)]
#[case::logout(true)]
#[tokio::test]
async fn late_removal_of_an_outdated_cookie_value_after_parallel_rotations_is_ignored(
    #[case] logs_out: bool,
) {
    const CALLS: usize = 50;
    let (site, mut requests) = controlled_site().await;
    let more = |upstream: &mut UpstreamSettings| {
        upstream.limits.session_concurrency = CALLS;
        upstream.limits.max_in_flight = 1_000;
    };
    let app = TestApp::builder()
        .with(gateway_with(more))
        .spawn(Store::Memory)
        .await;
    let token = app.log_in_to(&site).await;
    let mut calls = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..CALLS {
        let call = app.upstream(Method::GET, &token, "/rotate").send();
        calls.push(tokio::spawn(call));
    }
    for _ in 0..CALLS {
        let (request, answer) = requests.recv().await.unwrap();
        assert!(request.contains("\r\nCookie: sid=1\r\n"), "{request}");
        answers.push(answer);
    }
    let late = answers.pop().unwrap();
    for (index, answer) in answers.drain(CALLS / 2..).enumerate() {
        answer
            .send(setting(&format!("sid=n{index}; Path=/")))
            .unwrap();
    }
    if logs_out {
        assert_eq!(app.log_out(&token).await.status(), StatusCode::NO_CONTENT);
    }
    for (index, answer) in answers.into_iter().enumerate() {
        answer
            .send(setting(&format!("sid=m{index}; Path=/")))
            .unwrap();
    }
    // The loop ends when only one call has no answer yet.
    let mut open: futures_util::stream::FuturesUnordered<_> = calls.into_iter().collect();
    let is_unsaved = |response: &Response| response.headers().contains_key("x-upstream-cookies");
    let mut unsaved = 0;
    while open.len() > 1 {
        let response = open.next().await.unwrap().unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        unsaved += usize::from(is_unsaved(&response));
    }
    if logs_out {
        // At least the answers that the site has sent after the logout are marked.
        assert!(unsaved >= CALLS / 2, "{unsaved}");
    } else {
        assert_eq!(unsaved, 0);
    }
    let before = if logs_out {
        json!(null)
    } else {
        app.cookies(&token).await
    };
    late.send(setting("sid=; Path=/; Max-Age=0")).unwrap();
    let response = open.next().await.unwrap().unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(is_unsaved(&response), logs_out);
    if logs_out {
        let status = app.get_session(&token).await.status();
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    } else {
        assert_ne!(before, json!({"sid": "1"}));
        assert_eq!(app.cookies(&token).await, before);
        assert_eq!(before.as_object().unwrap().len(), 1, "{before}");
    }
}
