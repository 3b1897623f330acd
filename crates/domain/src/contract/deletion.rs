//! Contract tests of deletion: a deleted session is never found again.

use std::time::Duration;

use super::{Harness, manager, store_session};
use crate::{SessionError, SessionRepository, SessionToken};

/// No operation finds a session after its deletion was acknowledged. Other sessions stay live.
pub async fn deleted_session_is_not_found<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let (new, other) = (
        store_session(&sessions).await,
        store_session(&sessions).await,
    );
    assert!(
        sessions
            .delete(&new.token)
            .await
            .expect("the store answers")
    );
    assert!(matches!(
        sessions.get(&new.token).await,
        Err(SessionError::NotFound)
    ));
    assert!(
        !sessions
            .exists(&new.token)
            .await
            .expect("the store answers")
    );
    assert_eq!(
        sessions.ttl(&new.token).await.expect("the store answers"),
        None
    );
    sessions
        .get(&other.token)
        .await
        .expect("another session stays");
}

/// The first delete of a session returns `true`. A second delete of the same session returns
/// `false`.
pub async fn second_delete_returns_false<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    assert!(
        sessions
            .delete(&new.token)
            .await
            .expect("the store answers")
    );
    assert!(
        !sessions
            .delete(&new.token)
            .await
            .expect("the store answers")
    );
    assert!(
        !harness
            .repository()
            .remove(&new.token)
            .await
            .expect("the store answers")
    );
}

/// Deleting a session that never existed returns `false`.
pub async fn deleting_an_unknown_session_returns_false<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let token = SessionToken::generate();
    assert!(!sessions.delete(&token).await.expect("the store answers"));
    assert!(
        !harness
            .repository()
            .remove(&token)
            .await
            .expect("the store answers")
    );
}

/// If the TTL of a session has passed, removing the session returns `false`.
pub async fn removing_an_expired_session_returns_false<H: Harness>(harness: &H) {
    let sessions = manager(harness, 1);
    let new = store_session(&sessions).await;
    harness.pass(Duration::from_millis(1_250)).await;
    let removed = harness.repository().remove(&new.token).await;
    assert!(!removed.expect("the store answers"));
}

/// A touch (TTL renewal) of a deleted session does not create the session again.
pub async fn touch_does_not_restore_a_deleted_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    assert!(
        sessions
            .delete(&new.token)
            .await
            .expect("the store answers")
    );
    let repository = harness.repository();
    for _ in 0..3 {
        let touched = repository
            .load_and_touch(&new.token, Duration::from_secs(60))
            .await;
        assert_eq!(touched.expect("the store answers"), None);
        assert_eq!(
            repository
                .load_with_ttl(&new.token)
                .await
                .expect("the store answers"),
            None
        );
    }
}
