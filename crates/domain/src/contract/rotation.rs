//! Contract tests of rotation: only the new token gives access to the session.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::{
    Harness, manager, manager_with_lifetime, pass, repeat_if_late, store_session,
    store_session_with_label,
};
use crate::{
    MoveOutcome, NewSession, SessionError, SessionPatch, SessionRepository, SessionToken,
    UpdateError,
};

const SECOND: Duration = Duration::from_secs(1);

/// After a rotation, the unchanged session is found under the new token, and not under the old
/// token.
pub async fn rotated_session_is_found_only_under_its_new_token<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session_with_label(&sessions, "telephone").await;
    let before = sessions
        .get(&new.token)
        .await
        .expect("the session is live")
        .session;
    let rotated = sessions
        .rotate(&new.token)
        .await
        .expect("the session is live");
    assert_ne!(rotated.token, new.token, "a rotation returns a new token");
    assert_eq!(
        rotated.session, before,
        "a rotation returns the session unchanged"
    );
    assert_eq!(
        rotated.ttl,
        Duration::from_secs(60),
        "a rotation renews the idle timeout"
    );
    let got = sessions.get(&new.token).await;
    assert!(
        matches!(got, Err(SessionError::NotFound)),
        "after a rotation, the old token is invalid"
    );
    let after = sessions
        .get(&rotated.token)
        .await
        .expect("the session is live");
    assert_eq!(
        after.session, before,
        "after a rotation, the session is stored unchanged under the new token"
    );
    let again = sessions.rotate(&new.token).await;
    assert!(
        matches!(again, Err(SessionError::NotFound)),
        "the old token must not be rotated again"
    );
}

/// A rotation renews the idle timeout, but does not extend the absolute lifetime.
pub async fn rotation_renews_the_idle_timeout_but_not_the_absolute_lifetime<H: Harness>(
    harness: &H,
) {
    repeat_if_late(SECOND * 3 / 4, async |pace| {
        let sessions = manager_with_lifetime(harness, pace.seconds(2), Some(pace.seconds(5)));
        let mut token = store_session(&sessions).await.token;
        for _ in 0..2 {
            pass(pace, harness, SECOND * 5 / 4).await;
            token = sessions
                .rotate(&token)
                .await
                .expect("the session is live")
                .token;
        }
        pass(pace, harness, SECOND * 5 / 4).await;
        sessions
            .get(&token)
            .await
            .expect("the session is still live");
        pass(pace, harness, SECOND * 3 / 2).await;
        let rotated = sessions.rotate(&token).await;
        assert!(
            matches!(rotated, Err(SessionError::NotFound)),
            "a rotation must not extend the absolute lifetime"
        );
    })
    .await;
}

/// Exactly one of many concurrent rotations of a token returns a new token. The other rotations
/// return `NotFound`.
pub async fn exactly_one_of_many_concurrent_rotations_succeeds<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..10 {
        let new = store_session(&sessions).await;
        let rotations = join_all((0..8).map(|_| sessions.rotate(&new.token))).await;
        let mut successors = Vec::new();
        for rotation in rotations {
            match rotation {
                Ok(rotated) => successors.push(rotated.token),
                Err(SessionError::NotFound) => {}
                Err(error) => panic!("unexpected error: {error}"),
            }
        }
        let [successor] = &successors[..] else {
            panic!(
                "exactly one rotation must succeed, not {}",
                successors.len()
            );
        };
        sessions.get(successor).await.expect("the session is live");
        assert!(
            !sessions
                .exists(&new.token)
                .await
                .expect("the call succeeds"),
            "after a rotation, nothing is stored under the old token"
        );
    }
}

/// If a rotation and a delete of the same session run concurrently, exactly one of them succeeds.
/// If the rotation succeeds, the new token is valid.
pub async fn exactly_one_of_concurrent_rotation_and_delete_succeeds<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..20 {
        let new = store_session(&sessions).await;
        let (rotated, deleted) =
            join(sessions.rotate(&new.token), sessions.delete(&new.token)).await;
        let deleted = deleted.expect("the call succeeds");
        match rotated {
            Ok(NewSession { token, .. }) => {
                assert!(
                    !deleted,
                    "a rotation and a delete of one session must not both succeed"
                );
                sessions.get(&token).await.expect("the session is live");
            }
            Err(SessionError::NotFound) => assert!(
                deleted,
                "the delete must succeed if the rotation returns NotFound"
            ),
            Err(error) => panic!("unexpected error: {error}"),
        }
        assert!(
            !sessions
                .exists(&new.token)
                .await
                .expect("the call succeeds"),
            "no session may be left under the old token"
        );
    }
}

/// If an update was acknowledged before or during a rotation, the session under the new token
/// contains the update.
pub async fn rotation_keeps_concurrent_updates<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..10 {
        let new = store_session(&sessions).await;
        let updates = join_all((0..8).map(|writer| {
            let (sessions, token) = (&sessions, &new.token);
            async move {
                let patch = SessionPatch::default().set_cookie(format!("writer-{writer}"), "1");
                match sessions.update(token, &patch, |_| true).await {
                    Ok(_) => Some(writer),
                    Err(UpdateError::Session(SessionError::NotFound)) => None,
                    Err(error) => panic!("unexpected error: {error}"),
                }
            }
        }));
        let (rotated, updates) = join(sessions.rotate(&new.token), updates).await;
        let rotated = rotated.expect("the session is live");
        let read = sessions
            .get(&rotated.token)
            .await
            .expect("the session is live")
            .session;
        let updates: Vec<_> = updates.into_iter().flatten().collect();
        assert_eq!(
            read.cookies.len(),
            1 + updates.len(),
            "the session under the new token contains exactly the acknowledged updates"
        );
        for writer in updates {
            assert_eq!(
                read.cookies.get(&format!("writer-{writer}")),
                Some("1"),
                "an acknowledged update must not be lost in a rotation"
            );
        }
    }
}

/// Rotating a session that never existed returns `NotFound`.
pub async fn rotating_an_unknown_session_returns_not_found<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let rotated = sessions.rotate(&SessionToken::generate()).await;
    assert!(
        matches!(rotated, Err(SessionError::NotFound)),
        "the rotation of an unknown session returns NotFound"
    );
}

/// If a move to a new token fails, it changes no record: the record under the old token stays as
/// it was, and nothing is stored under the new token. If the new token already has a record, that
/// record also stays as it was.
pub async fn failed_move_to_a_new_token_changes_no_record<H: Harness>(harness: &H) {
    let (sessions, repository) = (manager(harness, 60), harness.repository());
    let minute = Duration::from_secs(60);
    let (new, other) = (
        store_session(&sessions).await,
        store_session(&sessions).await,
    );
    let seen = repository.load_for_update(&new.token, None).await;
    let seen = seen
        .expect("the call succeeds")
        .expect("the session is live");
    let move_to = async |to: &SessionToken| {
        let moved =
            repository.move_to_new_token(&new.token, &seen.revision, to, &seen.session, minute);
        moved.await.expect("the call succeeds")
    };
    assert_eq!(
        move_to(&other.token).await,
        MoveOutcome::TokenTaken,
        "a move to a token with a record returns TokenTaken"
    );
    sessions
        .get(&other.token)
        .await
        .expect("the session is live");
    sessions.get(&new.token).await.expect("the session is live");

    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&new.token, &patch, |_| true).await;
    updated.expect("the session is live");
    let successor = SessionToken::generate();
    assert_eq!(
        move_to(&successor).await,
        MoveOutcome::Changed,
        "a move with an outdated revision returns Changed"
    );
    sessions.get(&new.token).await.expect("the session is live");
    assert!(
        !sessions
            .exists(&successor)
            .await
            .expect("the call succeeds"),
        "a move that returns Changed must store nothing under the new token"
    );

    assert!(
        sessions
            .delete(&new.token)
            .await
            .expect("the call succeeds"),
        "the delete of a live session returns true"
    );
    assert_eq!(
        move_to(&successor).await,
        MoveOutcome::Gone,
        "a move of a removed session returns Gone"
    );
    assert!(
        !sessions
            .exists(&successor)
            .await
            .expect("the call succeeds"),
        "a move that returns Gone must store nothing under the new token"
    );
}
