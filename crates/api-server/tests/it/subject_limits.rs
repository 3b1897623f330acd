//! How many sessions a subject may have.

use std::num::NonZeroUsize;

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::Value;
use tee_session_domain::{SubjectLimit, WhenReached};

use crate::{
    subjects::{listed, login},
    test_app::{Store, TestApp, assert_problem, valid_body},
};

async fn app_with(max: usize, when_reached: WhenReached, store: Store) -> TestApp {
    let limit = SubjectLimit {
        max: NonZeroUsize::new(max).unwrap(),
        when_reached,
    };
    TestApp::builder()
        .with(|settings| settings.policy = settings.policy.with_subject_limit(Some(limit)))
        .spawn(store)
        .await
}

async fn log_in(app: &TestApp) -> String {
    let created = app.post_session(&login("member-4711")).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let created: Value = created.json().await.unwrap();
    created["access_token"].as_str().unwrap().to_owned()
}

async fn count(app: &TestApp) -> usize {
    let list = listed(app, "subject=member-4711").await;
    list["sessions"].as_array().unwrap().len()
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn one_more_ends_the_oldest(#[case] store: Store) {
    let app = app_with(2, WhenReached::EvictOldest, store).await;
    let (first, second) = (log_in(&app).await, log_in(&app).await);
    // Used last, and still the oldest.
    assert_eq!(app.get_session(&first).await.status(), StatusCode::OK);
    let third = log_in(&app).await;
    assert_problem(app.get_session(&first).await, 401, "invalid_token").await;
    for token in [&second, &third] {
        assert_eq!(app.get_session(token).await.status(), StatusCode::OK);
    }
    assert_eq!(count(&app).await, 2);
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn one_more_is_409_until_one_ends(#[case] store: Store) {
    let app = app_with(2, WhenReached::Refuse, store).await;
    let (first, second) = (log_in(&app).await, log_in(&app).await);
    for _ in 0..3 {
        let refused = app.post_session(&login("member-4711")).await;
        assert!(!refused.headers().contains_key("location"));
        assert!(!refused.headers().contains_key("retry-after"));
        let problem = assert_problem(refused, 409, "session_limit_reached").await;
        assert!(!problem.to_string().contains("member"), "{problem}");
    }
    assert_eq!(count(&app).await, 2);
    app.log_out(&first).await;
    let third = log_in(&app).await;
    for token in [&second, &third] {
        assert_eq!(app.get_session(token).await.status(), StatusCode::OK);
    }
}

#[rstest]
#[case::memory(Store::Memory)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn others_and_nobody_are_not_counted(#[case] store: Store) {
    let app = app_with(1, WhenReached::Refuse, store).await;
    let token = log_in(&app).await;
    for login in [login("member-4712"), valid_body(), valid_body()] {
        let created = app.post_session(&login).await;
        assert_eq!(created.status(), StatusCode::CREATED);
    }
    // A new token is no new session.
    let rotated = app.rotate(&token).await;
    assert_eq!(rotated.status(), StatusCode::OK);
    assert_eq!(count(&app).await, 1);
}
