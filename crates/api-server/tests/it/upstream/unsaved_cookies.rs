//! Tests of cookies that are not stored when an answer arrives: the answer and the metrics report
//! them, and the service stores them later if it can.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, TestSite, eventually};

use super::{
    cookies::{controlled_site, setting, setting_site},
    gateway, gateway_with, login_over, with_metrics,
};
use crate::{
    hooked_repository::HookedRepository,
    metrics::scrape,
    test_app::{Store, TestApp, assert_problem},
};

#[rstest]
#[case::logout(false)]
#[case::rotation(true)]
#[tokio::test]
async fn answer_after_a_logout_or_rotation_reports_unsaved_cookies_and_changes_no_session(
    #[case] rotates: bool,
) {
    let (site, mut requests) = controlled_site().await;
    let app = TestApp::builder()
        .with(gateway)
        .with(with_metrics)
        .spawn(Store::Memory)
        .await;
    let token = app.log_in_to(&site).await;
    let call = tokio::spawn(app.upstream(Method::GET, &token, "/").send());
    let (_, answer) = requests.recv().await.unwrap();
    let next = if rotates {
        let rotated: Value = app.rotate(&token).await.json().await.unwrap();
        rotated["access_token"].as_str().map(str::to_owned)
    } else {
        assert_eq!(app.log_out(&token).await.status(), StatusCode::NO_CONTENT);
        None
    };
    answer.send(setting("sid=2; Path=/")).unwrap();
    let response = call.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-upstream-cookies"], "unsaved");
    let status = app.get_session(&token).await.status();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(next.is_some(), rotates);
    if let Some(next) = next {
        assert_eq!(app.cookies(&next).await, json!({"sid": "1"}));
    }
    eventually(Duration::from_secs(5), async || {
        let scraped = scrape(&app).await;
        let count = |outcome, count| {
            let name = "tee_session_upstream_cookies_unsaved_total";
            scraped.contains(&format!("{name}{{outcome=\"{outcome}\"}} {count}\n"))
        };
        count("gone", 1) && count("lost", 0)
    })
    .await;
}

#[rstest]
#[case::login_over(login_over::REDIRECT, 401, "upstream_session_expired")]
#[case::too_long(
    "HTTP/1.1 200 OK\r\nSet-Cookie: sid=2; Path=/\r\nContent-Length: 99999999\r\n\r\n",
    502,
    "upstream_failed"
)]
#[tokio::test]
async fn problem_has_the_field_x_upstream_cookies_if_the_cookies_of_the_answer_were_not_stored(
    #[case] answer: &'static str,
    #[case] status: u16,
    #[case] code: &str,
) {
    let redis = RedisProcess::start_with(&["--maxmemory-policy", "noeviction"]).await;
    let site = TestSite::answering(answer).await;
    let app = TestApp::builder().with(gateway_with(login_over::signals));
    let app = app.spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in_to(&site).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let call = app.upstream(Method::GET, &token, "/book");
    let response = call.send().await.unwrap();
    assert_eq!(response.headers()["x-upstream-cookies"], "unsaved");
    let problem = assert_problem(response, status, code).await;
    assert_eq!(problem["outcome"], "unknown");
}

#[tokio::test]
async fn answer_is_passed_on_during_a_store_outage_and_its_cookies_are_stored_later() {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let (site, mut requests) = controlled_site().await;
    let app = TestApp::builder()
        .with(gateway)
        .with(|settings| {
            with_metrics(settings);
            settings.call_timeout = Duration::from_secs(1);
            settings.answer_timeout = Duration::from_secs(2);
        })
        .spawn_on_redis(&format!("redis://{}/0", proxy.address()));
    app.until_ready().await;
    let token = app.log_in_to(&site).await;
    let call = tokio::spawn(app.upstream(Method::GET, &token, "/book").send());
    let (_, answer) = requests.recv().await.unwrap();
    proxy.set(Fault::Stall);
    answer.send(setting("sid=2; Path=/")).unwrap();
    let response = call.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["via"], "1.1 tee-session");
    assert_eq!(response.headers()["x-upstream-cookies"], "unsaved");
    proxy.set(Fault::None);
    eventually(Duration::from_secs(5), async || {
        let response = app.get_session(&token).await;
        response.status() == StatusCode::OK
            && response.json::<Value>().await.unwrap()["cookies"] == json!({"sid": "2"})
    })
    .await;
    assert_eq!(site.seen().requests("/book"), 1);
    eventually(Duration::from_secs(5), async || {
        let scraped = scrape(&app).await;
        let count = |outcome| {
            format!("tee_session_upstream_cookies_unsaved_total{{outcome=\"{outcome}\"}}")
        };
        scraped.contains(&format!("{} 1\n", count("kept_late")))
            && scraped.contains(&format!("{} 0\n", count("lost")))
    })
    .await;
}

#[tokio::test]
async fn set_cookie_line_that_is_not_utf_8_is_counted_as_ignored() {
    let answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: name=J\xf6rg; Path=/\r\n\
                   Set-Cookie: sid=2; Path=/\r\nContent-Length: 0\r\n\r\n";
    let site = TestSite::answering(answer).await;
    let app = TestApp::builder()
        .with(gateway)
        .with(with_metrics)
        .spawn(Store::Memory)
        .await;
    let token = app.log_in_to(&site).await;
    let call = app.upstream(Method::GET, &token, "/");
    assert_eq!(call.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(app.cookies(&token).await, json!({"sid": "2"}));
    let ignored = "tee_session_cookies_ignored_total{reason=\"syntax\"} 1\n";
    let scraped = scrape(&app).await;
    assert!(scraped.contains(ignored), "{scraped}");
}

#[tokio::test]
async fn cookies_whose_merge_conflicts_with_other_changes_are_stored_later() {
    let site = TestSite::answering(setting("sid=2; Path=/")).await;
    let is_contended = Arc::new(AtomicBool::new(true));
    let app = TestApp::builder()
        .with(gateway)
        .with(with_metrics)
        .spawn_on(HookedRepository::contended_while(&is_contended));
    app.until_ready().await;
    let token = app.log_in_to(&site).await;
    let call = app.upstream(Method::GET, &token, "/book");
    let response = call.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-upstream-cookies"], "unsaved");
    assert_eq!(app.cookies(&token).await, json!({"sid": "1"}));
    is_contended.store(false, Ordering::SeqCst);
    eventually(Duration::from_secs(5), async || {
        let kept = "tee_session_upstream_cookies_unsaved_total{outcome=\"kept_late\"} 1\n";
        scrape(&app).await.contains(kept)
    })
    .await;
    assert_eq!(app.cookies(&token).await, json!({"sid": "2"}));
    assert_eq!(site.seen().total(), 1);
}

/// Redis is full: it serves reads and deletions, but refuses writes. The cookies of an answer still
/// wait to be stored when the client ends the session, and are lost. A rotation of the token would
/// lose them too.
#[tokio::test]
async fn cookies_that_wait_to_be_stored_are_counted_as_lost_when_the_session_ends() {
    let redis = RedisProcess::start_with(&["--maxmemory-policy", "noeviction"]).await;
    let site = setting_site().await;
    let app = TestApp::builder()
        .with(gateway)
        .with(with_metrics)
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in_to(&site).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let call = app.upstream(Method::GET, &token, "/set/sid/2");
    assert_eq!(call.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(app.cookies(&token).await, json!({"sid": "1"}));
    assert_eq!(app.log_out(&token).await.status(), StatusCode::NO_CONTENT);
    eventually(Duration::from_secs(10), async || {
        let lost = "tee_session_upstream_cookies_unsaved_total{outcome=\"lost\"} 1\n";
        scrape(&app).await.contains(lost)
    })
    .await;
}

/// Redis is full for several seconds: it serves reads but refuses writes. The service therefore
/// still sends requests to the site, and the cookies of several answers of the site wait to be
/// stored. The pause between two attempts to store the cookies must not grow without limit.
#[tokio::test]
async fn cookies_received_during_a_store_outage_are_stored_later_in_the_order_of_the_answers() {
    const FULL_FOR: Duration = Duration::from_millis(3_500);
    let redis = RedisProcess::start_with(&["--maxmemory-policy", "noeviction"]).await;
    let site = setting_site().await;
    let app = TestApp::builder()
        .with(gateway)
        .spawn_on_redis(&redis.url());
    app.until_ready().await;
    let token = app.log_in_to(&site).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let full = tokio::time::Instant::now();
    for value in 2..=9 {
        let path = format!("/set/sid/{value}");
        let call = app.upstream(Method::GET, &token, &path);
        let response = call.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    assert_eq!(app.cookies(&token).await, json!({"sid": "1"}));
    tokio::time::sleep_until(full + FULL_FOR).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    eventually(Duration::from_secs(5), async || {
        app.cookies(&token).await == json!({"sid": "9"})
    })
    .await;
    // After the newest answer was merged, no older answer is merged.
    let until = full + Duration::from_secs(6);
    while tokio::time::Instant::now() < until {
        assert_eq!(app.cookies(&token).await, json!({"sid": "9"}));
    }
}
