//! A new token, and the old one is dead.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::{Harness, manager, manager_with_lifetime, of_subject, stored};
use crate::{
    NewSession, RelocateOutcome, SessionError, SessionPatch, SessionRepository, SessionToken,
    UpdateError,
};

const SECOND: Duration = Duration::from_secs(1);

/// All that the session was stands under the new token, and under no other.
pub async fn a_rotated_session_stands_under_its_new_token_alone<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = of_subject(&sessions, "member", "telephone").await;
    let before = sessions.get(&new.token).await.expect("it lives").session;
    let rotated = sessions.rotate(&new.token).await.expect("it lives");
    assert_ne!(rotated.token, new.token);
    assert_eq!(rotated.session, before);
    assert_eq!(rotated.ttl, Duration::from_secs(60));
    let got = sessions.get(&new.token).await;
    assert!(matches!(got, Err(SessionError::NotFound)));
    let after = sessions.get(&rotated.token).await.expect("it lives");
    assert_eq!(after.session, before);
    let again = sessions.rotate(&new.token).await;
    assert!(matches!(again, Err(SessionError::NotFound)));
}

/// A rotation is an access, and does not lengthen the session's whole life.
pub async fn a_rotation_slides_and_keeps_the_absolute_end<H: Harness>(harness: &H) {
    let sessions = manager_with_lifetime(harness, 2, Some(5));
    let mut token = stored(&sessions).await.token;
    for _ in 0..2 {
        harness.pass(SECOND * 5 / 4).await;
        token = sessions.rotate(&token).await.expect("it lives").token;
    }
    harness.pass(SECOND * 5 / 4).await;
    sessions.get(&token).await.expect("it lives on");
    harness.pass(SECOND * 3 / 2).await;
    let rotated = sessions.rotate(&token).await;
    assert!(matches!(rotated, Err(SessionError::NotFound)));
}

/// One token has one successor.
pub async fn of_many_rotations_of_one_token_one_succeeds<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..10 {
        let new = stored(&sessions).await;
        let rotations = join_all((0..8).map(|_| sessions.rotate(&new.token))).await;
        let mut successors = Vec::new();
        for rotation in rotations {
            match rotation {
                Ok(rotated) => successors.push(rotated.token),
                Err(SessionError::NotFound) => {}
                Err(error) => panic!("the store answers: {error}"),
            }
        }
        let [successor] = &successors[..] else {
            panic!("{} rotations succeeded", successors.len());
        };
        sessions.get(successor).await.expect("it lives");
        assert!(
            !sessions
                .exists(&new.token)
                .await
                .expect("the store answers")
        );
    }
}

/// Either the logout finds the session, or the new token opens it.
pub async fn a_rotation_that_races_a_delete_has_one_outcome<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..20 {
        let new = stored(&sessions).await;
        let (rotated, deleted) =
            join(sessions.rotate(&new.token), sessions.delete(&new.token)).await;
        let deleted = deleted.expect("the store answers");
        match rotated {
            Ok(NewSession { token, .. }) => {
                assert!(!deleted);
                sessions.get(&token).await.expect("it lives");
            }
            Err(SessionError::NotFound) => assert!(deleted),
            Err(error) => panic!("the store answers: {error}"),
        }
        assert!(
            !sessions
                .exists(&new.token)
                .await
                .expect("the store answers")
        );
    }
}

/// A change that was acknowledged is there under the new token.
pub async fn a_rotation_loses_no_update<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..10 {
        let new = stored(&sessions).await;
        let updates = join_all((0..8).map(|writer| {
            let (sessions, token) = (&sessions, &new.token);
            async move {
                let patch = SessionPatch::default().set_cookie(format!("writer-{writer}"), "1");
                match sessions.update(token, &patch, |_| true).await {
                    Ok(_) => Some(writer),
                    Err(UpdateError::Session(SessionError::NotFound)) => None,
                    Err(error) => panic!("the store answers: {error}"),
                }
            }
        }));
        let (rotated, updates) = join(sessions.rotate(&new.token), updates).await;
        let rotated = rotated.expect("it lives");
        let read = sessions
            .get(&rotated.token)
            .await
            .expect("it lives")
            .session;
        let updates: Vec<_> = updates.into_iter().flatten().collect();
        assert_eq!(read.cookies.len(), 1 + updates.len());
        for writer in updates {
            assert_eq!(read.cookies.get(&format!("writer-{writer}")), Some("1"));
        }
    }
}

/// What never was has no successor.
pub async fn an_unknown_session_is_not_rotated<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let rotated = sessions.rotate(&SessionToken::generate()).await;
    assert!(matches!(rotated, Err(SessionError::NotFound)));
}

/// What is not moved leaves nothing behind where it would have gone.
pub async fn what_is_not_relocated_stays_where_it_was<H: Harness>(harness: &H) {
    let (sessions, repository) = (manager(harness, 60), harness.repository());
    let minute = Duration::from_secs(60);
    let (new, other) = (stored(&sessions).await, stored(&sessions).await);
    let seen = repository.fetch_revision(&new.token).await;
    let seen = seen.expect("the store answers").expect("it lives");
    let relocate = async |to: &SessionToken| {
        let relocate = repository.relocate(&new.token, &seen.revision, to, &seen.session, minute);
        relocate.await.expect("the store answers")
    };
    assert_eq!(relocate(&other.token).await, RelocateOutcome::TokenTaken);
    sessions.get(&other.token).await.expect("it lives");
    sessions.get(&new.token).await.expect("it lives");

    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&new.token, &patch, |_| true).await;
    updated.expect("it lives");
    let successor = SessionToken::generate();
    assert_eq!(relocate(&successor).await, RelocateOutcome::Changed);
    sessions.get(&new.token).await.expect("it lives");
    assert!(
        !sessions
            .exists(&successor)
            .await
            .expect("the store answers")
    );

    assert!(
        sessions
            .delete(&new.token)
            .await
            .expect("the store answers")
    );
    assert_eq!(relocate(&successor).await, RelocateOutcome::Gone);
    assert!(
        !sessions
            .exists(&successor)
            .await
            .expect("the store answers")
    );
}
