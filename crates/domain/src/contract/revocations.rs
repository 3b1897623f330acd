//! Contract tests of revocations: revoking one session by its id, and all sessions of a subject.

use futures_util::future::{join, join_all};

use super::{
    Harness, manager, store_session, store_session_of,
    subjects::{is_live, list_all_pages, subject},
};
use crate::{SessionError, SessionId};

/// A session is revoked by its session id. Other sessions of the subject stay live.
pub async fn session_is_revoked_by_its_id<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session_of(&sessions, "member", "telephone").await;
    let other = store_session_of(&sessions, "member", "laptop").await;
    let id = SessionId::of(&new.token);
    assert!(
        sessions.revoke(id).await.expect("the call succeeds"),
        "the revocation of a live session returns true"
    );
    assert!(
        !is_live(&sessions, &new).await && is_live(&sessions, &other).await,
        "a revocation by id ends this session, and no other session of the subject"
    );
    assert!(
        !sessions.revoke(id).await.expect("the call succeeds"),
        "the second revocation of a session returns false"
    );
    let listed = list_all_pages(&sessions, "member", 10).await;
    assert_eq!(listed.len(), 1, "a revoked session is not listed");
}

/// Revoking all sessions of a subject ends each of these sessions, but no session of another
/// subject.
pub async fn all_sessions_of_a_subject_are_revoked<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let others = [
        store_session(&sessions).await,
        store_session_of(&sessions, "another", "laptop").await,
    ];
    let new = (0..150).map(|_| store_session_of(&sessions, "member", "telephone"));
    let mut new = join_all(new).await;
    new[0] = sessions
        .rotate(&new[0].token)
        .await
        .expect("the session is live");
    let revoked = sessions.revoke_all(&subject("member")).await;
    assert_eq!(
        revoked.ok(),
        Some(150),
        "a revocation counts all sessions of the subject"
    );
    for new in &new {
        assert!(
            !is_live(&sessions, new).await,
            "a revocation of all sessions ends each session of the subject"
        );
    }
    for other in &others {
        assert!(
            is_live(&sessions, other).await,
            "a revocation must not end a session of another subject"
        );
    }
    assert!(
        list_all_pages(&sessions, "member", 100).await.is_empty(),
        "a revoked session is not listed"
    );
    assert_eq!(
        sessions.revoke_all(&subject("member")).await.ok(),
        Some(0),
        "a second revocation finds no session"
    );
    let later = store_session_of(&sessions, "member", "telephone").await;
    assert!(
        is_live(&sessions, &later).await,
        "a session that is created after a revocation is live"
    );
}

/// If a session is created while all sessions of its subject are revoked, there are two allowed
/// results. Either the session is revoked, or the session stays live, is listed, and is ended by
/// the next revocation.
pub async fn session_created_during_a_revocation_is_either_revoked_or_listed<H: Harness>(
    harness: &H,
) {
    let sessions = manager(harness, 60);
    for _ in 0..20 {
        let before = store_session_of(&sessions, "member", "telephone").await;
        let creations = join_all((0..8).map(|_| store_session_of(&sessions, "member", "laptop")));
        let all = subject("member");
        let (created, revoked) = join(creations, sessions.revoke_all(&all)).await;
        assert!(
            revoked.expect("the call succeeds") >= 1,
            "a revocation counts the session from before it"
        );
        assert!(
            !is_live(&sessions, &before).await,
            "a session from before a revocation is not live"
        );
        let mut live = Vec::new();
        for new in &created {
            if is_live(&sessions, new).await {
                live.push(SessionId::of(&new.token));
            }
        }
        let listed = list_all_pages(&sessions, "member", 100).await;
        let mut listed: Vec<_> = listed.iter().map(|session| session.id).collect();
        live.sort_by_key(|id| *id.as_bytes());
        listed.sort_by_key(|id| *id.as_bytes());
        assert_eq!(
            listed, live,
            "after a revocation, exactly the live sessions are listed"
        );
        let revoked = sessions.revoke_all(&all).await;
        assert_eq!(
            revoked.ok(),
            Some(live.len()),
            "the next revocation ends all sessions that are still live"
        );
        for new in &created {
            assert!(
                !is_live(&sessions, new).await,
                "the next revocation ends all sessions that are still live"
            );
        }
    }
}

/// If a session is rotated while all sessions of its subject are revoked, neither the old nor the
/// new token stays valid.
pub async fn session_rotated_during_a_revocation_is_revoked<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..20 {
        let new = join_all((0..8).map(|_| store_session_of(&sessions, "member", "laptop"))).await;
        let rotations = join_all(new.iter().map(|new| sessions.rotate(&new.token)));
        let all = subject("member");
        let (rotations, revoked) = join(rotations, sessions.revoke_all(&all)).await;
        revoked.expect("the call succeeds");
        for rotation in rotations {
            match rotation {
                Ok(rotated) => assert!(
                    !is_live(&sessions, &rotated).await,
                    "a session that is rotated during a revocation is not live under its new token"
                ),
                Err(SessionError::NotFound) => {}
                Err(error) => panic!("unexpected error: {error}"),
            }
        }
        for new in &new {
            assert!(
                !is_live(&sessions, new).await,
                "a session that is rotated during a revocation is not live under its old token"
            );
        }
        assert!(
            list_all_pages(&sessions, "member", 100).await.is_empty(),
            "after a revocation, no session is listed"
        );
    }
}
