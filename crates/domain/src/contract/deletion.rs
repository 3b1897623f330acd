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
            .expect("the call succeeds"),
        "the first delete of a session returns true"
    );
    assert!(
        matches!(sessions.get(&new.token).await, Err(SessionError::NotFound)),
        "after a delete, `get` finds no session"
    );
    assert!(
        !sessions
            .exists(&new.token)
            .await
            .expect("the call succeeds"),
        "after a delete, `exists` returns false"
    );
    assert_eq!(
        sessions.ttl(&new.token).await.expect("the call succeeds"),
        None,
        "after a delete, `ttl` returns None"
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
            .expect("the call succeeds"),
        "the first delete of a session returns true"
    );
    assert!(
        !sessions
            .delete(&new.token)
            .await
            .expect("the call succeeds"),
        "a second delete of a session returns false"
    );
    assert!(
        !harness
            .repository()
            .remove(&new.token)
            .await
            .expect("the call succeeds"),
        "`remove` returns false if the session was already removed"
    );
}

/// Deleting a session that never existed returns `false`.
pub async fn deleting_an_unknown_session_returns_false<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let token = SessionToken::generate();
    assert!(
        !sessions.delete(&token).await.expect("the call succeeds"),
        "deleting an unknown session returns false"
    );
    assert!(
        !harness
            .repository()
            .remove(&token)
            .await
            .expect("the call succeeds"),
        "`remove` of an unknown session returns false"
    );
}

/// If the TTL of a session has passed, removing the session returns `false`.
pub async fn removing_an_expired_session_returns_false<H: Harness>(harness: &H) {
    let sessions = manager(harness, 1);
    let new = store_session(&sessions).await;
    harness.pass(Duration::from_millis(1_250)).await;
    let removed = harness.repository().remove(&new.token).await;
    assert!(
        !removed.expect("the call succeeds"),
        "`remove` of an expired session returns false"
    );
}

/// A touch (TTL renewal) of a deleted session does not create the session again.
pub async fn touch_does_not_restore_a_deleted_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    assert!(
        sessions
            .delete(&new.token)
            .await
            .expect("the call succeeds"),
        "the first delete of a session returns true"
    );
    let repository = harness.repository();
    for _ in 0..3 {
        let touched = repository
            .load_and_touch(&new.token, Duration::from_secs(60))
            .await;
        assert_eq!(
            touched.expect("the call succeeds"),
            None,
            "`load_and_touch` must not restore a deleted session"
        );
        assert_eq!(
            repository
                .load_with_ttl(&new.token)
                .await
                .expect("the call succeeds"),
            None,
            "a touch of a deleted session must store nothing"
        );
    }
}
