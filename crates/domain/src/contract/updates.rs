//! Contract tests of updates: no update is lost, and no update restores a deleted session.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::{
    Harness, cookies, manager, manager_with_lifetime, pass, repeat_if_late, store_session,
    store_session_with_label,
};
use crate::{
    EntityTag, MoveOutcome, SessionError, SessionPatch, SessionRepository, SessionToken,
    SwapOutcome, UpdateError,
};

const SECOND: Duration = Duration::from_secs(1);

fn accept_any_tag(_: EntityTag) -> bool {
    true
}

fn is_not_found(error: &UpdateError) -> bool {
    matches!(error, UpdateError::Session(SessionError::NotFound))
}

/// An update changes only the cookies that the patch names. The base URL, subject, label and
/// creation time of the session stay unchanged.
pub async fn updated_cookies_are_read_back<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session_with_label(&sessions, "telephone").await;
    let patch = SessionPatch::default()
        .remove_cookie("SESSIONID")
        .set_cookie("member", "7")
        .set_cookie("club", "ö;");
    let updated = sessions.update(&new.token, &patch, accept_any_tag).await;
    let updated = updated.expect("the session is live").session;
    let expected = cookies([("member", "7"), ("club", "ö;")]);
    assert_eq!(
        updated.cookies, expected,
        "an update returns the cookies that result from the patch"
    );
    let read = sessions
        .get(&new.token)
        .await
        .expect("the session is live")
        .session;
    assert_eq!(
        read.cookies, expected,
        "the cookies that an update returns are stored"
    );
    assert_eq!(
        read.base_url, new.session.base_url,
        "an update without a base URL keeps the base URL"
    );
    assert_eq!(
        read.attributes, new.session.attributes,
        "an update keeps subject and label"
    );
    assert_eq!(
        read.created_at, updated.created_at,
        "an update keeps the creation time"
    );
}

/// An update renews the idle timeout.
pub async fn update_renews_the_idle_timeout<H: Harness>(harness: &H) {
    repeat_if_late(SECOND * 3 / 4, async |pace| {
        let sessions = manager(harness, pace.seconds(2));
        let new = store_session(&sessions).await;
        pass(pace, harness, SECOND * 5 / 4).await;
        let patch = SessionPatch::default().set_cookie("a", "1");
        let updated = sessions.update(&new.token, &patch, accept_any_tag).await;
        updated.expect("the session is live");
        pass(pace, harness, SECOND * 5 / 4).await;
        sessions
            .get(&new.token)
            .await
            .expect("the session is still live");
        pass(pace, harness, SECOND * 9 / 4).await;
        let updated = sessions.update(&new.token, &patch, accept_any_tag).await;
        assert!(
            updated.is_err_and(|error| is_not_found(&error)),
            "the update of an expired session returns NotFound"
        );
    })
    .await;
}

/// An update does not extend the absolute lifetime.
pub async fn update_does_not_extend_the_absolute_lifetime<H: Harness>(harness: &H) {
    repeat_if_late(SECOND, async |pace| {
        let sessions = manager_with_lifetime(harness, 60, Some(pace.seconds(2)));
        let new = store_session(&sessions).await;
        pass(pace, harness, SECOND).await;
        let patch = SessionPatch::default().set_cookie("a", "1");
        let updated = sessions.update(&new.token, &patch, accept_any_tag).await;
        updated.expect("the session is live");
        pass(pace, harness, SECOND * 3 / 2).await;
        let updated = sessions.update(&new.token, &patch, accept_any_tag).await;
        assert!(
            updated.is_err_and(|error| is_not_found(&error)),
            "the update of a session past its absolute lifetime returns NotFound"
        );
        let got = sessions.get(&new.token).await;
        assert!(
            matches!(got, Err(SessionError::NotFound)),
            "an update must not extend the absolute lifetime"
        );
    })
    .await;
}

/// After many concurrent updates of different cookies, the session contains the changes of all
/// updates.
pub async fn concurrent_updates_are_not_lost<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    let updates = (0..16).map(|writer| {
        let (sessions, token) = (&sessions, &new.token);
        async move {
            for round in 0..3 {
                let patch = SessionPatch::default()
                    .set_cookie(format!("writer-{writer}"), round.to_string());
                let updated = sessions.update(token, &patch, accept_any_tag).await;
                updated.expect("a concurrent change is applied after the others");
            }
        }
    });
    join_all(updates).await;
    let read = sessions.get(&new.token).await.expect("the session is live");
    assert_eq!(
        read.session.cookies.len(),
        17,
        "no concurrent update may be lost: one cookie from the login and one of each of 16 writers"
    );
    for writer in 0..16 {
        let name = format!("writer-{writer}");
        assert_eq!(
            read.session.cookies.get(&name),
            Some("2"),
            "the last update of each writer must be stored"
        );
    }
}

/// Exactly one of many concurrent updates with the same entity tag as precondition succeeds.
pub async fn exactly_one_of_many_updates_with_the_same_precondition_succeeds<H: Harness>(
    harness: &H,
) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    let seen = EntityTag::of(&new.token, &new.session);
    let updates = (0..8).map(|writer| {
        let (sessions, token) = (&sessions, &new.token);
        async move {
            let patch = SessionPatch::default().set_cookie("writer", writer.to_string());
            let updated = sessions.update(token, &patch, |tag| tag == seen).await;
            match updated {
                Ok(_) => Some(writer),
                Err(UpdateError::PreconditionFailed) => None,
                Err(error) => panic!("unexpected error: {error}"),
            }
        }
    });
    let writers: Vec<_> = join_all(updates).await.into_iter().flatten().collect();
    let read = sessions
        .get(&new.token)
        .await
        .expect("the session is live")
        .session;
    let [writer] = writers[..] else {
        panic!("exactly one update must succeed, not {}", writers.len());
    };
    assert_eq!(
        read.cookies.get("writer"),
        Some(writer.to_string().as_str()),
        "the stored session contains the change of the update that succeeded"
    );
    assert_ne!(
        EntityTag::of(&new.token, &read),
        seen,
        "a change of the cookies changes the entity tag"
    );
}

/// Updates that run concurrently with a delete do not restore the session.
pub async fn concurrent_updates_do_not_restore_a_deleted_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for round in 0..20 {
        let new = store_session(&sessions).await;
        let patch = SessionPatch::default().set_cookie("round", round.to_string());
        let updates = join_all((0..8).map(|_| sessions.update(&new.token, &patch, accept_any_tag)));
        let (updates, deleted) = join(updates, sessions.delete(&new.token)).await;
        assert!(
            deleted.expect("the call succeeds"),
            "the delete of a live session returns true"
        );
        for update in updates {
            assert!(
                update.is_ok() || update.is_err_and(|error| is_not_found(&error)),
                "an update during a delete succeeds or returns NotFound"
            );
        }
        assert!(
            !sessions
                .exists(&new.token)
                .await
                .expect("the call succeeds"),
            "an update during a delete must not restore the session"
        );
    }
}

/// A session has expired since it was loaded. Replacing the session and moving it to a new token
/// both return `Gone`, and nothing is stored.
pub async fn expired_session_is_neither_replaced_nor_moved<H: Harness>(harness: &H) {
    repeat_if_late(SECOND, async |pace| {
        let sessions = manager(harness, pace.seconds(1));
        let repository = harness.repository();
        let minute = Duration::from_secs(60);
        let new = store_session(&sessions).await;
        let seen = repository.load_for_update(&new.token, None).await;
        let seen = seen
            .expect("the call succeeds")
            .expect("the session is live");
        pass(pace, harness, SECOND * 5 / 4).await;
        let swap = repository.compare_and_swap(&new.token, &seen.revision, &seen.session, minute);
        assert_eq!(
            swap.await.expect("the call succeeds"),
            SwapOutcome::Gone,
            "`compare_and_swap` of an expired session returns Gone"
        );
        let successor = SessionToken::generate();
        let moved = repository.move_to_new_token(
            &new.token,
            &seen.revision,
            &successor,
            &seen.session,
            minute,
        );
        assert_eq!(
            moved.await.expect("the call succeeds"),
            MoveOutcome::Gone,
            "`move_to_new_token` of an expired session returns Gone"
        );
        for token in [&new.token, &successor] {
            let record = repository.load_with_ttl(token).await;
            assert_eq!(
                record.expect("the call succeeds"),
                None,
                "neither call may store a record for an expired session"
            );
        }
    })
    .await;
}

/// Updating a session that never existed returns `NotFound` and does not create the session.
pub async fn updating_an_unknown_session_returns_not_found<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let token = SessionToken::generate();
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&token, &patch, accept_any_tag).await;
    assert!(
        updated.is_err_and(|error| is_not_found(&error)),
        "the update of an unknown session returns NotFound"
    );
    assert!(
        !sessions.exists(&token).await.expect("the call succeeds"),
        "the update of an unknown session must store nothing"
    );
}

/// A compare-and-swap changes nothing if the session has changed since it was read. A touch (TTL
/// renewal) does not count as a change.
pub async fn compare_and_swap_fails_after_a_change_but_not_after_a_touch<H: Harness>(harness: &H) {
    let (sessions, repository) = (manager(harness, 60), harness.repository());
    let minute = Duration::from_secs(60);
    let new = store_session(&sessions).await;
    let seen = repository.load_for_update(&new.token, None).await;
    let seen = seen
        .expect("the call succeeds")
        .expect("the session is live");
    sessions.get(&new.token).await.expect("the session is live");

    let swap = async || {
        let swap = repository.compare_and_swap(&new.token, &seen.revision, &seen.session, minute);
        swap.await.expect("the call succeeds")
    };
    assert_eq!(
        swap().await,
        SwapOutcome::Swapped,
        "a touch (TTL renewal) must not change the revision of a session"
    );
    let again = repository.load_for_update(&new.token, None).await;
    let again = again
        .expect("the call succeeds")
        .expect("the session is live");
    assert_eq!(
        again.session, seen.session,
        "a swap with an equal session keeps the stored session"
    );

    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&new.token, &patch, accept_any_tag).await;
    updated.expect("the session is live");
    assert_eq!(
        swap().await,
        SwapOutcome::Changed,
        "`compare_and_swap` with a revision from before an update returns Changed"
    );
    assert!(
        sessions
            .delete(&new.token)
            .await
            .expect("the call succeeds"),
        "the delete of a live session returns true"
    );
    assert_eq!(
        swap().await,
        SwapOutcome::Gone,
        "`compare_and_swap` of a removed session returns Gone"
    );
    assert!(
        !sessions
            .exists(&new.token)
            .await
            .expect("the call succeeds"),
        "`compare_and_swap` must not restore a removed session"
    );
}
