//! No change is lost, and none undoes a logout.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::{Harness, cookies, manager, manager_with_lifetime, of_subject, stored};
use crate::{
    EntityTag, SessionError, SessionPatch, SessionRepository, SessionToken, SwapOutcome,
    UpdateError,
};

const SECOND: Duration = Duration::from_secs(1);

fn always(_: EntityTag) -> bool {
    true
}

fn is_not_found(error: &UpdateError) -> bool {
    matches!(error, UpdateError::Session(SessionError::NotFound))
}

/// What is changed is changed, and all else stays.
pub async fn an_update_is_read_back<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = of_subject(&sessions, "member", "telephone").await;
    let patch = SessionPatch::default()
        .remove_cookie("SESSIONID")
        .set_cookie("member", "7")
        .set_cookie("club", "ö;");
    let updated = sessions.update(&new.token, &patch, always).await;
    let updated = updated.expect("it lives").session;
    let expected = cookies([("member", "7"), ("club", "ö;")]);
    assert_eq!(updated.cookies, expected);
    let read = sessions.get(&new.token).await.expect("it lives").session;
    assert_eq!(read.cookies, expected);
    assert_eq!(read.base_url, new.session.base_url);
    assert_eq!(read.subject, new.session.subject);
    assert_eq!(read.label, new.session.label);
    assert_eq!(read.created_at, updated.created_at);
}

/// A change is an access.
pub async fn an_update_slides_the_idle_timeout<H: Harness>(harness: &H) {
    let sessions = manager(harness, 2);
    let new = stored(&sessions).await;
    harness.pass(SECOND * 5 / 4).await;
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&new.token, &patch, always).await;
    updated.expect("it lives");
    harness.pass(SECOND * 5 / 4).await;
    sessions.get(&new.token).await.expect("it lives on");
    harness.pass(SECOND * 9 / 4).await;
    let updated = sessions.update(&new.token, &patch, always).await;
    assert!(updated.is_err_and(|error| is_not_found(&error)));
}

/// It does not lengthen the session's whole life.
pub async fn an_update_keeps_the_absolute_end<H: Harness>(harness: &H) {
    let sessions = manager_with_lifetime(harness, 60, Some(2));
    let new = stored(&sessions).await;
    harness.pass(SECOND).await;
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&new.token, &patch, always).await;
    updated.expect("it lives");
    harness.pass(SECOND * 3 / 2).await;
    let updated = sessions.update(&new.token, &patch, always).await;
    assert!(updated.is_err_and(|error| is_not_found(&error)));
    let got = sessions.get(&new.token).await;
    assert!(matches!(got, Err(SessionError::NotFound)));
}

/// However many change a session at once, it has all their changes.
pub async fn no_update_of_many_writers_is_lost<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = stored(&sessions).await;
    let updates = (0..16).map(|writer| {
        let (sessions, token) = (&sessions, &new.token);
        async move {
            for round in 0..3 {
                let patch = SessionPatch::default()
                    .set_cookie(format!("writer-{writer}"), round.to_string());
                let updated = sessions.update(token, &patch, always).await;
                updated.expect("one of all succeeds at a time");
            }
        }
    });
    join_all(updates).await;
    let read = sessions.get(&new.token).await.expect("it lives");
    assert_eq!(read.session.cookies.len(), 17);
    for writer in 0..16 {
        let name = format!("writer-{writer}");
        assert_eq!(read.session.cookies.get(&name), Some("2"));
    }
}

/// Of several who change the state that they saw, and no other, one does.
pub async fn of_many_updates_of_one_state_one_succeeds<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = stored(&sessions).await;
    let seen = EntityTag::of(&new.token, &new.session);
    let updates = (0..8).map(|writer| {
        let (sessions, token) = (&sessions, &new.token);
        async move {
            let patch = SessionPatch::default().set_cookie("writer", writer.to_string());
            let updated = sessions.update(token, &patch, |tag| tag == seen).await;
            match updated {
                Ok(_) => Some(writer),
                Err(UpdateError::PreconditionFailed) => None,
                Err(error) => panic!("the store answers: {error}"),
            }
        }
    });
    let writers: Vec<_> = join_all(updates).await.into_iter().flatten().collect();
    let read = sessions.get(&new.token).await.expect("it lives").session;
    let [writer] = writers[..] else {
        panic!("{} of them succeeded", writers.len());
    };
    assert_eq!(
        read.cookies.get("writer"),
        Some(writer.to_string().as_str())
    );
    assert_ne!(EntityTag::of(&new.token, &read), seen);
}

/// After a logout there is nothing, whoever changed the session at that moment.
pub async fn updates_that_race_a_delete_never_bring_it_back<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for round in 0..20 {
        let new = stored(&sessions).await;
        let patch = SessionPatch::default().set_cookie("round", round.to_string());
        let updates = join_all((0..8).map(|_| sessions.update(&new.token, &patch, always)));
        let (updates, deleted) = join(updates, sessions.delete(&new.token)).await;
        assert!(deleted.expect("the store answers"));
        for update in updates {
            assert!(update.is_ok() || update.is_err_and(|error| is_not_found(&error)));
        }
        assert!(
            !sessions
                .exists(&new.token)
                .await
                .expect("the store answers")
        );
    }
}

/// Nor is one made by a change of what never was.
pub async fn an_unknown_session_is_not_updated<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let token = SessionToken::generate();
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&token, &patch, always).await;
    assert!(updated.is_err_and(|error| is_not_found(&error)));
    assert!(!sessions.exists(&token).await.expect("the store answers"));
}

/// A state that a session is no longer in is not replaced; a slide does not change its state.
pub async fn only_the_state_that_was_seen_is_replaced<H: Harness>(harness: &H) {
    let (sessions, repository) = (manager(harness, 60), harness.repository());
    let minute = Duration::from_secs(60);
    let new = stored(&sessions).await;
    let seen = repository.fetch_revision(&new.token).await;
    let seen = seen.expect("the store answers").expect("it lives");
    sessions.get(&new.token).await.expect("it lives");

    let swap = async || {
        let swap = repository.compare_and_swap(&new.token, &seen.revision, &seen.session, minute);
        swap.await.expect("the store answers")
    };
    assert_eq!(swap().await, SwapOutcome::Swapped);
    let again = repository.fetch_revision(&new.token).await;
    let again = again.expect("the store answers").expect("it lives");
    assert_eq!(again.session, seen.session);

    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&new.token, &patch, always).await;
    updated.expect("it lives");
    assert_eq!(swap().await, SwapOutcome::Changed);
    assert!(
        sessions
            .delete(&new.token)
            .await
            .expect("the store answers")
    );
    assert_eq!(swap().await, SwapOutcome::Gone);
    assert!(
        !sessions
            .exists(&new.token)
            .await
            .expect("the store answers")
    );
}
