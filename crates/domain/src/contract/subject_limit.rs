//! Contract tests of the session limit per subject.

use std::{num::NonZeroUsize, time::Duration};

use super::{
    Harness, base_url, cookies, store_session, store_session_of,
    subjects::{is_live, list_all_pages, subject},
};
use crate::{
    AtLimit, Login, SessionAttributes, SessionError, SessionManager, SessionPolicy, SubjectLimit,
};

fn manager_with_subject_limit<H: Harness>(
    harness: &H,
    max: usize,
    when_reached: AtLimit,
) -> SessionManager<H::Repository> {
    let limit = SubjectLimit {
        max: NonZeroUsize::new(max).expect("a limit"),
        when_reached,
    };
    let policy = SessionPolicy::new(Duration::from_secs(60), None).expect("a valid policy");
    SessionManager::new(harness.repository(), policy.with_subject_limit(Some(limit)))
}

/// With a limit of three sessions per subject, each further session evicts the oldest session of
/// the subject.
pub async fn oldest_session_is_evicted_at_the_session_limit_of_a_subject<H: Harness>(harness: &H) {
    let sessions = manager_with_subject_limit(harness, 3, AtLimit::EvictOldest);
    let mut new = Vec::new();
    for _ in 0..5 {
        new.push(store_session_of(&sessions, "member", "telephone").await);
        store_session_of(&sessions, "another", "telephone").await;
    }
    let mut live = Vec::new();
    for new in &new {
        live.push(is_live(&sessions, new).await);
    }
    assert_eq!(
        live,
        [false, false, true, true, true],
        "at the session limit of 3, each new session evicts the oldest one"
    );
}

/// With a limit of three sessions per subject, a fourth session is rejected until one of the three
/// has ended. Sessions without a subject are not limited.
pub async fn new_session_is_rejected_at_the_session_limit_of_a_subject<H: Harness>(harness: &H) {
    let sessions = manager_with_subject_limit(harness, 3, AtLimit::Refuse);
    let login = || Login {
        attributes: SessionAttributes::of_subject(subject("member")),
        ..Login::new(cookies([("a", "1")]), base_url())
    };
    let mut new = Vec::new();
    for _ in 0..3 {
        new.push(
            sessions
                .store_login(login())
                .await
                .expect("the subject is below its session limit"),
        );
        store_session(&sessions).await;
    }
    let refused = sessions.store_login(login()).await;
    assert!(
        matches!(refused, Err(SessionError::TooManySessions)),
        "at the session limit, a new session is rejected"
    );
    for new in &new {
        assert!(
            is_live(&sessions, new).await,
            "a rejected session must not end another session"
        );
    }
    assert_eq!(
        list_all_pages(&sessions, "member", 10).await.len(),
        3,
        "a rejected session is not listed"
    );
    assert!(
        sessions
            .delete(&new[0].token)
            .await
            .expect("the call succeeds"),
        "the delete of a live session returns true"
    );
    sessions
        .store_login(login())
        .await
        .expect("the subject is below its session limit");
}
