//! Logout is final.

use std::time::Duration;

use super::{Harness, manager, stored};
use crate::{SessionError, SessionRepository, SessionToken};

/// After the answer, no way of asking finds it.
pub async fn a_deleted_session_is_gone<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let (new, other) = (stored(&sessions).await, stored(&sessions).await);
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

/// The second delete says that there was nothing to delete.
pub async fn deleting_twice_deletes_once<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = stored(&sessions).await;
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

/// So does the delete of a session that never was.
pub async fn deleting_an_unknown_session_deletes_nothing<H: Harness>(harness: &H) {
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

/// A slide that comes after the delete creates nothing.
pub async fn nothing_resurrects_a_deleted_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = stored(&sessions).await;
    assert!(
        sessions
            .delete(&new.token)
            .await
            .expect("the store answers")
    );
    let repository = harness.repository();
    for _ in 0..3 {
        let slide = repository
            .fetch_and_slide(&new.token, Duration::from_secs(60))
            .await;
        assert_eq!(slide.expect("the store answers"), None);
        assert_eq!(
            repository
                .peek(&new.token)
                .await
                .expect("the store answers"),
            None
        );
    }
}
