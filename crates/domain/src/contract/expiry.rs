//! Contract tests of expiry: idle timeout, absolute lifetime and the store's clock.

use std::time::{Duration, Instant};

use super::{
    Harness, manager, manager_with_lifetime, manager_with_touch_interval, pass, repeat_if_late,
    store_session,
};
use crate::{SessionError, SessionRepository};

const SECOND: Duration = Duration::from_secs(1);

/// Tolerance for corrections of a clock while a test runs. Time synchronization can set back the
/// store's clock, or the repository's local copy of that clock, between two readings.
const CLOCK_CORRECTION: Duration = Duration::from_millis(100);

/// A new session that is never accessed expires after its TTL.
pub async fn new_session_expires_after_its_ttl<H: Harness>(harness: &H) {
    repeat_if_late(SECOND, async |pace| {
        let sessions = manager(harness, pace.seconds(1));
        let new = store_session(&sessions).await;
        assert!(
            sessions
                .exists(&new.token)
                .await
                .expect("the call succeeds"),
            "a new session exists until its TTL has passed"
        );
        pass(pace, harness, SECOND * 5 / 4).await;
        assert!(
            matches!(sessions.get(&new.token).await, Err(SessionError::NotFound)),
            "`get` finds no session after its TTL has passed"
        );
        assert!(
            !sessions
                .exists(&new.token)
                .await
                .expect("the call succeeds"),
            "`exists` returns false after the TTL has passed"
        );
        assert_eq!(
            sessions.ttl(&new.token).await.expect("the call succeeds"),
            None,
            "`ttl` returns None after the TTL has passed"
        );
        assert!(
            !sessions
                .delete(&new.token)
                .await
                .expect("the call succeeds"),
            "a delete returns false after the TTL has passed"
        );
    })
    .await;
}

/// Each access restarts the idle timeout. Without a further access, the session expires when the
/// idle timeout has passed.
pub async fn access_renews_the_idle_timeout<H: Harness>(harness: &H) {
    repeat_if_late(SECOND * 3 / 4, async |pace| {
        let sessions = manager(harness, pace.seconds(2));
        let new = store_session(&sessions).await;
        for _ in 0..3 {
            pass(pace, harness, SECOND * 5 / 4).await;
            sessions
                .get(&new.token)
                .await
                .expect("an accessed session is still live");
        }
        pass(pace, harness, SECOND * 9 / 4).await;
        assert!(
            matches!(sessions.get(&new.token).await, Err(SessionError::NotFound)),
            "a session expires if it is not accessed within its idle timeout"
        );
    })
    .await;
}

/// `exists` and `ttl` do not renew the idle timeout, because they do not count as accesses.
pub async fn exists_and_ttl_do_not_renew_the_idle_timeout<H: Harness>(harness: &H) {
    repeat_if_late(SECOND * 3 / 4, async |pace| {
        let sessions = manager(harness, pace.seconds(2));
        let new = store_session(&sessions).await;
        pass(pace, harness, SECOND * 5 / 4).await;
        assert!(
            sessions
                .exists(&new.token)
                .await
                .expect("the call succeeds"),
            "a session exists within its idle timeout"
        );
        assert!(
            sessions
                .ttl(&new.token)
                .await
                .expect("the call succeeds")
                .is_some(),
            "`ttl` finds a session within its idle timeout"
        );
        pass(pace, harness, SECOND).await;
        assert!(
            !sessions
                .exists(&new.token)
                .await
                .expect("the call succeeds"),
            "`exists` and `ttl` must not renew the TTL"
        );
    })
    .await;
}

/// `load` does not touch the session (renew its TTL). The session expires as if `load` had not been
/// called.
pub async fn load_does_not_renew_the_ttl<H: Harness>(harness: &H) {
    repeat_if_late(SECOND * 3 / 4, async |pace| {
        let sessions = manager(harness, pace.seconds(2));
        let new = store_session(&sessions).await;
        let repository = harness.repository();
        pass(pace, harness, SECOND * 5 / 4).await;
        let found = repository.load(&new.token).await;
        assert_eq!(
            found.expect("the call succeeds"),
            Some(new.session),
            "`load` finds a session within its TTL"
        );
        pass(pace, harness, SECOND).await;
        let found = repository.load(&new.token).await;
        assert_eq!(
            found.expect("the call succeeds"),
            None,
            "`load` must not renew the TTL"
        );
    })
    .await;
}

/// If the touch interval (minimum time between two TTL renewals) has not passed since the last TTL
/// renewal, an access does not renew the TTL.
pub async fn access_within_the_touch_interval_does_not_renew_the_ttl<H: Harness>(harness: &H) {
    repeat_if_late(SECOND * 29, async |pace| {
        let sessions = manager_with_touch_interval(harness, pace.seconds(60), pace.seconds(30));
        let new = store_session(&sessions).await;
        let remaining = async || {
            let loaded = harness.repository().load_with_ttl(&new.token).await;
            let loaded = loaded
                .expect("the call succeeds")
                .expect("the session is live");
            loaded.remaining.expect("the record has a TTL")
        };
        sessions.get(&new.token).await.expect("the session is live");
        let renewed = remaining().await;
        assert!(
            renewed >= pace.stretch(SECOND * 60),
            "the first access renews the TTL, but the TTL is {renewed:?}"
        );
        pass(pace, harness, SECOND).await;
        let active = sessions.get(&new.token).await.expect("the session is live");
        assert_eq!(
            active.session, new.session,
            "an access within the touch interval returns the session as it was stored"
        );
        assert!(
            remaining().await <= renewed - SECOND * 9 / 10,
            "the TTL was renewed again"
        );
        let ttl = sessions.ttl(&new.token).await.expect("the call succeeds");
        let idle_timeout = pace.stretch(SECOND * 60);
        assert!(
            ttl.is_some_and(|ttl| ttl.ttl <= idle_timeout),
            "`ttl` returns at most the idle timeout: {ttl:?}"
        );
        assert!(
            sessions
                .delete(&new.token)
                .await
                .expect("the call succeeds"),
            "the delete of a live session returns true"
        );
        assert!(
            matches!(sessions.get(&new.token).await, Err(SessionError::NotFound)),
            "after a delete, `get` finds no session, even within the touch interval"
        );
    })
    .await;
}

/// The idle timeout counts from the last access, even if that access did not renew the TTL because
/// of the touch interval (minimum time between two TTL renewals).
pub async fn session_lives_for_its_idle_timeout_after_an_access_without_ttl_renewal<H: Harness>(
    harness: &H,
) {
    repeat_if_late(SECOND / 4, async |pace| {
        let sessions = manager_with_touch_interval(harness, pace.seconds(2), pace.seconds(1));
        let new = store_session(&sessions).await;
        sessions.get(&new.token).await.expect("the session is live");
        pass(pace, harness, SECOND * 3 / 4).await;
        sessions.get(&new.token).await.expect("the session is live");
        // After this wait, 2.5 s have passed since the last TTL renewal, but less than 2 s since
        // the last access.
        pass(pace, harness, SECOND * 7 / 4).await;
        sessions
            .get(&new.token)
            .await
            .expect("the session is still live");
        pass(pace, harness, SECOND * 17 / 4).await;
        assert!(
            matches!(sessions.get(&new.token).await, Err(SessionError::NotFound)),
            "a session expires when its idle timeout has passed since the last access"
        );
    })
    .await;
}

/// The remaining lifetime that `ttl` returns decreases as the clock advances, and increases with an
/// access.
pub async fn ttl_returns_the_remaining_lifetime<H: Harness>(harness: &H) {
    repeat_if_late(SECOND * 9 / 10, async |pace| {
        let sessions = manager(harness, pace.seconds(60));
        let after_a_second = pace.stretch(SECOND * 59) + CLOCK_CORRECTION;
        let new = store_session(&sessions).await;
        assert_eq!(
            new.ttl,
            pace.stretch(SECOND * 60),
            "a new session has the idle timeout as its TTL"
        );
        pass(pace, harness, SECOND).await;
        let before = sessions
            .ttl(&new.token)
            .await
            .expect("the call succeeds")
            .expect("the session is live");
        assert!(
            before.ttl <= after_a_second,
            "the TTL decreases as the store's clock advances: {before:?}"
        );
        assert!(
            before.ttl > pace.stretch(SECOND * 45),
            "the TTL must not decrease faster than the store's clock advances: {before:?}"
        );
        sessions.get(&new.token).await.expect("the session is live");
        let after = sessions
            .ttl(&new.token)
            .await
            .expect("the call succeeds")
            .expect("the session is live");
        assert!(
            after.ttl > after_a_second,
            "an access renews the TTL: {after:?}"
        );
        assert!(
            after.expires_at > before.expires_at,
            "an access moves `expires_at` to a later time"
        );
    })
    .await;
}

/// A session in constant use ends when its absolute lifetime is over. No access returns an end time
/// after the end of the absolute lifetime.
pub async fn absolute_lifetime_ends_a_session_in_constant_use<H: Harness>(harness: &H) {
    repeat_if_late(SECOND * 3 / 2, async |pace| {
        let sessions = manager_with_lifetime(harness, 60, Some(pace.seconds(3)));
        let new = store_session(&sessions).await;
        let lifetime = pace.stretch(SECOND * 3);
        assert_eq!(
            new.ttl, lifetime,
            "the TTL of a new session is at most its absolute lifetime"
        );
        let end = new.session.created_at + lifetime;
        for _ in 0..6 {
            pass(pace, harness, SECOND / 4).await;
            let active = sessions
                .get(&new.token)
                .await
                .expect("the session is live until its absolute end");
            assert!(
                active.expires_at <= end,
                "{} is after {end}",
                active.expires_at
            );
        }
        pass(pace, harness, SECOND * 7 / 4).await;
        assert!(
            matches!(sessions.get(&new.token).await, Err(SessionError::NotFound)),
            "a session ends with its absolute lifetime, even if it is in constant use"
        );
        let record = harness
            .repository()
            .load_with_ttl(&new.token)
            .await
            .expect("the call succeeds");
        assert_eq!(record, None, "a session found past its end is removed");
    })
    .await;
}

/// `exists`, `ttl` and `delete` do not find a session past its absolute lifetime.
pub async fn exists_ttl_and_delete_find_no_session_past_its_absolute_lifetime<H: Harness>(
    harness: &H,
) {
    let generous = manager(harness, 60);
    let (one, two, three) = (
        store_session(&generous).await,
        store_session(&generous).await,
        store_session(&generous).await,
    );
    harness.pass(SECOND * 5 / 4).await;
    let strict = manager_with_lifetime(harness, 60, Some(1));
    assert!(
        !strict.exists(&one.token).await.expect("the call succeeds"),
        "`exists` returns false past the absolute lifetime"
    );
    assert_eq!(
        strict.ttl(&two.token).await.expect("the call succeeds"),
        None,
        "`ttl` returns None past the absolute lifetime"
    );
    assert!(
        !strict
            .delete(&three.token)
            .await
            .expect("the call succeeds"),
        "a delete returns false past the absolute lifetime"
    );
    for token in [&one.token, &two.token, &three.token] {
        assert_eq!(
            harness
                .repository()
                .load_with_ttl(token)
                .await
                .expect("the call succeeds"),
            None,
            "a session that is found past its absolute lifetime is removed from the store"
        );
    }
}

/// The time that the repository's `now` returns advances as fast as the store's clock.
pub async fn repository_clock_advances_as_fast_as_the_store_clock<H: Harness>(harness: &H) {
    repeat_if_late(CLOCK_CORRECTION, async |pace| {
        let repository = harness.repository();
        let (started, before) = (Instant::now(), repository.now());
        pass(pace, harness, SECOND).await;
        let passed = repository.now() - before;
        let (requested, tolerance) = (pace.stretch(SECOND), pace.stretch(CLOCK_CORRECTION));
        // A harness may advance the store's clock without waiting. The requested time is therefore
        // allowed.
        let at_most = started.elapsed().max(requested) + tolerance;
        assert!(
            passed >= requested - tolerance && passed <= at_most,
            "{passed} of at most {at_most:?}"
        );
    })
    .await;
}
