//! Idle timeout, absolute lifetime and the store's clock.

use std::time::{Duration, Instant};

use super::{Harness, manager, manager_with_lifetime, manager_with_touch_interval, stored};
use crate::{SessionError, SessionRepository};

const SECOND: Duration = Duration::from_secs(1);

/// Largest correction of the store's clock, or of what is known of it, while a test runs. Real clocks
/// are disciplined: they can lose microseconds between two readings.
const CLOCK_CORRECTION: Duration = Duration::from_millis(100);

/// Nobody asked for it: it ends.
pub async fn a_new_session_expires_after_its_ttl<H: Harness>(harness: &H) {
    let sessions = manager(harness, 1);
    let new = stored(&sessions).await;
    assert!(
        sessions
            .exists(&new.token)
            .await
            .expect("the store answers")
    );
    harness.pass(SECOND * 5 / 4).await;
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
    assert!(
        !sessions
            .delete(&new.token)
            .await
            .expect("the store answers")
    );
}

/// Each access starts the window anew, and its end is the end.
pub async fn an_access_slides_the_idle_timeout<H: Harness>(harness: &H) {
    let sessions = manager(harness, 2);
    let new = stored(&sessions).await;
    for _ in 0..3 {
        harness.pass(SECOND * 5 / 4).await;
        sessions
            .get(&new.token)
            .await
            .expect("an accessed session lives on");
    }
    harness.pass(SECOND * 9 / 4).await;
    assert!(matches!(
        sessions.get(&new.token).await,
        Err(SessionError::NotFound)
    ));
}

/// Asking about a session is not using it.
pub async fn exists_and_ttl_do_not_slide<H: Harness>(harness: &H) {
    let sessions = manager(harness, 2);
    let new = stored(&sessions).await;
    harness.pass(SECOND * 5 / 4).await;
    assert!(
        sessions
            .exists(&new.token)
            .await
            .expect("the store answers")
    );
    assert!(
        sessions
            .ttl(&new.token)
            .await
            .expect("the store answers")
            .is_some()
    );
    harness.pass(SECOND).await;
    assert!(
        !sessions
            .exists(&new.token)
            .await
            .expect("the store answers")
    );
}

/// A session that is only fetched ends as one that nobody asked for.
pub async fn fetch_reads_and_does_not_slide<H: Harness>(harness: &H) {
    let sessions = manager(harness, 2);
    let new = stored(&sessions).await;
    let repository = harness.repository();
    harness.pass(SECOND * 5 / 4).await;
    let found = repository.fetch(&new.token).await;
    assert_eq!(found.expect("the store answers"), Some(new.session));
    harness.pass(SECOND).await;
    let found = repository.fetch(&new.token).await;
    assert_eq!(found.expect("the store answers"), None);
}

/// One slide for all accesses of the interval.
pub async fn an_access_within_the_touch_interval_does_not_slide<H: Harness>(harness: &H) {
    let sessions = manager_with_touch_interval(harness, 60, 30);
    let new = stored(&sessions).await;
    let remaining = async || {
        let peeked = harness.repository().peek(&new.token).await;
        let peeked = peeked.expect("the store answers").expect("it lives");
        peeked.remaining.expect("it has an end")
    };
    sessions.get(&new.token).await.expect("it lives");
    let slid = remaining().await;
    assert!(slid >= SECOND * 60, "{slid:?}");
    harness.pass(SECOND).await;
    let active = sessions.get(&new.token).await.expect("it lives");
    assert_eq!(active.session, new.session);
    assert!(
        remaining().await <= slid - SECOND * 9 / 10,
        "it was slid again"
    );
    let ttl = sessions.ttl(&new.token).await.expect("the store answers");
    assert!(ttl.is_some_and(|ttl| ttl.ttl <= SECOND * 60), "{ttl:?}");
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
}

/// Whichever access was the last, the idle timeout counts from it.
pub async fn a_session_lives_its_idle_timeout_after_an_access_that_did_not_slide<H: Harness>(
    harness: &H,
) {
    let sessions = manager_with_touch_interval(harness, 2, 1);
    let new = stored(&sessions).await;
    sessions.get(&new.token).await.expect("it lives");
    harness.pass(SECOND * 3 / 4).await;
    sessions.get(&new.token).await.expect("it lives");
    // Two seconds and a half after the slide, less than two after the access.
    harness.pass(SECOND * 7 / 4).await;
    sessions.get(&new.token).await.expect("it still lives");
    harness.pass(SECOND * 17 / 4).await;
    assert!(matches!(
        sessions.get(&new.token).await,
        Err(SessionError::NotFound)
    ));
}

/// The remaining time falls with the clock and rises with an access.
pub async fn ttl_tells_the_remaining_time<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = stored(&sessions).await;
    assert_eq!(new.ttl, Duration::from_secs(60));
    harness.pass(SECOND).await;
    let before = sessions
        .ttl(&new.token)
        .await
        .expect("the store answers")
        .expect("it lives");
    assert!(before.ttl <= SECOND * 59 + CLOCK_CORRECTION, "{before:?}");
    assert!(before.ttl > Duration::from_secs(45), "{before:?}");
    sessions.get(&new.token).await.expect("it lives");
    let after = sessions
        .ttl(&new.token)
        .await
        .expect("the store answers")
        .expect("it lives");
    assert!(after.ttl > SECOND * 59 + CLOCK_CORRECTION, "{after:?}");
    assert!(after.expires_at > before.expires_at);
}

/// Constant use does not outlive the absolute lifetime, and the end is told in advance.
pub async fn the_absolute_lifetime_ends_a_session_in_constant_use<H: Harness>(harness: &H) {
    let sessions = manager_with_lifetime(harness, 60, Some(3));
    let new = stored(&sessions).await;
    assert_eq!(new.ttl, SECOND * 3);
    let end = new.session.created_at + SECOND * 3;
    for _ in 0..6 {
        harness.pass(SECOND / 4).await;
        let active = sessions
            .get(&new.token)
            .await
            .expect("it lives until its end");
        assert!(
            active.expires_at <= end,
            "{} is after {end}",
            active.expires_at
        );
    }
    harness.pass(SECOND * 7 / 4).await;
    assert!(matches!(
        sessions.get(&new.token).await,
        Err(SessionError::NotFound)
    ));
    let record = harness
        .repository()
        .peek(&new.token)
        .await
        .expect("the store answers");
    assert_eq!(record, None, "a session found past its end is removed");
}

/// No way of asking sees a session past its end.
pub async fn exists_ttl_and_delete_obey_the_absolute_lifetime<H: Harness>(harness: &H) {
    let generous = manager(harness, 60);
    let (one, two, three) = (
        stored(&generous).await,
        stored(&generous).await,
        stored(&generous).await,
    );
    harness.pass(SECOND * 5 / 4).await;
    let strict = manager_with_lifetime(harness, 60, Some(1));
    assert!(!strict.exists(&one.token).await.expect("the store answers"));
    assert_eq!(
        strict.ttl(&two.token).await.expect("the store answers"),
        None
    );
    assert!(
        !strict
            .delete(&three.token)
            .await
            .expect("the store answers")
    );
    for token in [&one.token, &two.token, &three.token] {
        assert_eq!(
            harness
                .repository()
                .peek(token)
                .await
                .expect("the store answers"),
            None
        );
    }
}

/// The clock that stamps sessions runs as fast as the store's does.
pub async fn the_clock_of_the_store_moves_on<H: Harness>(harness: &H) {
    let repository = harness.repository();
    let (started, before) = (Instant::now(), repository.now());
    harness.pass(SECOND).await;
    let passed = repository.now() - before;
    // A harness may let its clock run without waiting.
    let at_most = started.elapsed().max(SECOND) + CLOCK_CORRECTION;
    assert!(
        passed >= SECOND - CLOCK_CORRECTION && passed <= at_most,
        "{passed} of at most {at_most:?}"
    );
}
