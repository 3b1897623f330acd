//! Tests of the limit for the number of sessions of one subject.

use std::num::NonZeroUsize;

use reqwest::StatusCode;
use serde_json::Value;
use tee_session_domain::{AtLimit, SubjectLimit};

use crate::{
    subjects::{build_body_with_subject, list_sessions},
    test_app::{Store, TestApp, assert_problem, build_valid_body},
};

async fn start_app_with_session_limit(max: usize, when_reached: AtLimit, store: Store) -> TestApp {
    let limit = SubjectLimit {
        max: NonZeroUsize::new(max).unwrap(),
        when_reached,
    };
    TestApp::builder()
        .with(|settings| settings.policy = settings.policy.with_subject_limit(Some(limit)))
        .spawn(store)
        .await
}

async fn create_session(app: &TestApp) -> String {
    let created = app
        .post_session(&build_body_with_subject("member-4711"))
        .await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let created: Value = created.json().await.unwrap();
    created["access_token"].as_str().unwrap().to_owned()
}

async fn count_sessions(app: &TestApp) -> usize {
    let list = list_sessions(app, "subject=member-4711").await;
    list["sessions"].as_array().unwrap().len()
}

#[tokio::test]
async fn login_over_the_session_limit_evicts_the_oldest_session_of_the_subject_if_eviction_is_on() {
    let app = start_app_with_session_limit(2, AtLimit::EvictOldest, Store::Memory).await;
    let (first, second) = (create_session(&app).await, create_session(&app).await);
    // The first session was used after the second session was created, but is still the oldest
    // session.
    assert_eq!(app.get_session(&first).await.status(), StatusCode::OK);
    let third = create_session(&app).await;
    assert_problem(app.get_session(&first).await, 401, "invalid_token").await;
    for token in [&second, &third] {
        assert_eq!(app.get_session(token).await.status(), StatusCode::OK);
    }
    assert_eq!(count_sessions(&app).await, 2);
}

#[tokio::test]
async fn login_over_the_session_limit_returns_409_until_a_session_ends_if_eviction_is_off() {
    let app = start_app_with_session_limit(2, AtLimit::Refuse, Store::Memory).await;
    let (first, second) = (create_session(&app).await, create_session(&app).await);
    for _ in 0..3 {
        let refused = app
            .post_session(&build_body_with_subject("member-4711"))
            .await;
        assert!(!refused.headers().contains_key("location"));
        assert!(!refused.headers().contains_key("retry-after"));
        let problem = assert_problem(refused, 409, "session_limit_reached").await;
        assert!(!problem.to_string().contains("member"), "{problem}");
    }
    assert_eq!(count_sessions(&app).await, 2);
    app.log_out(&first).await;
    let third = create_session(&app).await;
    for token in [&second, &third] {
        assert_eq!(app.get_session(token).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn session_limit_of_a_subject_ignores_sessions_of_others_and_sessions_without_a_subject() {
    let app = start_app_with_session_limit(1, AtLimit::Refuse, Store::Memory).await;
    let token = create_session(&app).await;
    for login in [
        build_body_with_subject("member-4712"),
        build_valid_body(),
        build_valid_body(),
    ] {
        let created = app.post_session(&login).await;
        assert_eq!(created.status(), StatusCode::CREATED);
    }
    // A token rotation does not count as another session of the subject.
    let rotated = app.rotate(&token).await;
    assert_eq!(rotated.status(), StatusCode::OK);
    assert_eq!(count_sessions(&app).await, 1);
}
