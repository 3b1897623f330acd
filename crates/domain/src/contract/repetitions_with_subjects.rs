//! Contract tests of requests with an `Idempotency-Key` for sessions of a subject: the number of
//! the subject's sessions, its session limit, and revocations.

use std::{num::NonZero, time::Duration};

use futures_util::future::join_all;

use super::{
    Harness,
    idempotency::{MINUTE, begin, find, request, running},
    manager,
    repetitions::{abandon_rotation, delivered_token, login, move_session},
    store_session_of,
};
use crate::{
    AtLimit, IdempotentRequest, InsertOutcome, Login, Session, SessionAttributes, SessionError,
    SessionManager, SessionPolicy, SessionRepository, SessionToken, Subject, SubjectLimit,
};

fn login_of(subject: &Subject) -> Login {
    Login {
        attributes: SessionAttributes::of_subject(subject.clone()),
        ..login()
    }
}

fn new_subject() -> Subject {
    let subject = format!("member-{}", SessionToken::generate().prefix());
    subject.parse().expect("a valid subject")
}

/// Returns the number of live sessions of the subject.
async fn count_sessions<R: SessionRepository>(
    sessions: &SessionManager<R>,
    subject: &Subject,
) -> usize {
    let page = sessions
        .list(subject, None, 100)
        .await
        .expect("the call succeeds");
    page.sessions.len()
}

/// Concurrent creations with the same `Idempotency-Key` create one session, and all return its
/// token.
pub async fn concurrent_creations_with_one_key_create_one_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..10 {
        let (request, subject) = (request("body"), new_subject());
        let all = (0..8).map(|_| sessions.store_login_once(&request, login_of(&subject), || true));
        let token = delivered_token(join_all(all).await);
        let token = token.expect("at least one request succeeds");
        sessions.get(&token).await.expect("the session is live");
        assert_eq!(
            count_sessions(&sessions, &subject).await,
            1,
            "concurrent creations with one key create one session"
        );
    }
}

/// If many repetitions take over an abandoned creation at the same time, exactly one session is
/// live in the end, and every successful repetition returns its token.
pub async fn concurrent_repetitions_of_an_abandoned_creation_create_one_session<H: Harness>(
    harness: &H,
) {
    let sessions = manager(harness, 60);
    let repository = sessions.repository();
    for is_stored in [true, false, true, false] {
        let (request, subject) = (request("body"), new_subject());
        let token = SessionToken::generate();
        let record = running(&request, &token, repository.now());
        begin(repository, &request, &record).await;
        if is_stored {
            let session = Session::new(login_of(&subject), repository.now(), None);
            let inserted = repository.insert(&token, &session, MINUTE).await;
            assert_eq!(
                inserted.expect("the call succeeds"),
                InsertOutcome::Inserted,
                "the first insert under a token stores the session"
            );
        }
        let all = (0..8).map(|_| sessions.store_login_once(&request, login_of(&subject), || true));
        let delivered = delivered_token(join_all(all).await);
        let delivered = delivered.expect("at least one request succeeds");
        assert_eq!(
            delivered == token,
            is_stored,
            "repetitions return the token of the first request exactly if its session is stored"
        );
        sessions.get(&delivered).await.expect("the session is live");
        assert_eq!(
            count_sessions(&sessions, &subject).await,
            1,
            "repetitions of an abandoned creation leave one session"
        );
    }
}

/// Each request has a lease that ends at once, so the requests take over the operation from one
/// another. In the end, exactly one session is live, and every successful request returns its
/// token.
pub async fn creations_that_take_over_from_each_other_deliver_one_token<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..10 {
        let subject = new_subject();
        let request = IdempotentRequest {
            lease: Duration::ZERO,
            ..request("body")
        };
        let all = (0..8).map(|_| sessions.store_login_once(&request, login_of(&subject), || true));
        let delivered = delivered_token(join_all(all).await);
        let last = sessions.store_login_once(&request, login_of(&subject), || true);
        let last = last.await.expect("the operation is complete").token;
        assert!(
            delivered.is_none_or(|delivered| delivered == last),
            "creations that take over from each other deliver one token"
        );
        sessions.get(&last).await.expect("the session is live");
        assert_eq!(
            count_sessions(&sessions, &subject).await,
            1,
            "creations that take over from each other leave one session"
        );
    }
}

/// A session is created immediately after all sessions of its subject were revoked. If a rotation
/// of the new session is abandoned, a repetition completes the rotation.
pub async fn abandoned_rotation_shortly_after_a_revocation_and_a_login_is_finished<H: Harness>(
    harness: &H,
) {
    let sessions = manager(harness, 60);
    let subject = new_subject();
    // Because of the first session, the subject keeps its index, and the index keeps the position
    // of the revocation.
    store_session_of(&sessions, subject.as_str(), "first").await;
    sessions
        .revoke_all(&subject)
        .await
        .expect("the call succeeds");
    let new = store_session_of(&sessions, subject.as_str(), "second").await;
    let (request, successor) = (request(""), SessionToken::generate());
    abandon_rotation(sessions.repository(), &request, &successor).await;
    move_session(sessions.repository(), &new.token, &successor).await;
    let repeated = sessions.rotate_once(&new.token, &request, || true).await;
    assert_eq!(
        repeated.expect("the session is live").token,
        successor,
        "a repetition returns the token that the abandoned rotation has generated"
    );
    sessions.get(&successor).await.expect("the session is live");
    assert_eq!(
        count_sessions(&sessions, &subject).await,
        1,
        "a rotation of a session from after a revocation leaves one session"
    );
}

/// If a session is revoked between an abandoned rotation and its repetition, the session ends, and
/// the repetition does not return it.
pub async fn revoked_session_is_not_returned_by_a_repeated_rotation<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let subject = new_subject();
    for is_moved in [true, false] {
        let new = store_session_of(&sessions, subject.as_str(), "telephone").await;
        let (request, successor) = (request(""), SessionToken::generate());
        abandon_rotation(sessions.repository(), &request, &successor).await;
        if is_moved {
            move_session(sessions.repository(), &new.token, &successor).await;
        }
        sessions
            .revoke_all(&subject)
            .await
            .expect("the call succeeds");
        let repeated = sessions.rotate_once(&new.token, &request, || true).await;
        assert!(
            matches!(repeated, Err(SessionError::NotFound)),
            "the repeated rotation of a revoked session returns NotFound"
        );
        for token in [&new.token, &successor] {
            let ended = sessions.get(token).await;
            assert!(
                matches!(ended, Err(SessionError::NotFound)),
                "a revocation ends the session under its old and its new token"
            );
        }
    }
}

/// Each request has a lease that ends at once, so the requests take over the operation from one
/// another. The subject has a session limit of 1, and each request enforces it. No request may end
/// the session whose token is returned.
pub async fn creations_that_take_over_from_each_other_keep_the_delivered_session_at_the_limit<
    H: Harness,
>(
    harness: &H,
) {
    let policy = SessionPolicy::new(MINUTE, None).expect("a valid policy");
    for when_reached in [AtLimit::Refuse, AtLimit::EvictOldest] {
        let limit = SubjectLimit {
            max: NonZero::<usize>::MIN,
            when_reached,
        };
        let policy = policy.with_subject_limit(Some(limit));
        let sessions = SessionManager::new(harness.repository(), policy);
        for _ in 0..5 {
            let subject = new_subject();
            let request = IdempotentRequest {
                lease: Duration::ZERO,
                ..request("body")
            };
            let all =
                (0..8).map(|_| sessions.store_login_once(&request, login_of(&subject), || true));
            for created in join_all(all).await {
                match created {
                    // For a moment, several of the new sessions may be stored. A session above the
                    // limit is then rejected.
                    Ok(_)
                    | Err(SessionError::OperationInProgress | SessionError::TooManySessions) => {}
                    Err(error) => panic!("unexpected error: {error}"),
                }
            }
            let last = sessions.store_login_once(&request, login_of(&subject), || true);
            let last = last.await.expect("the operation is complete").token;
            sessions.get(&last).await.expect("the session is live");
            assert_eq!(
                count_sessions(&sessions, &subject).await,
                1,
                "the session limit of 1 is kept, and the delivered session is not evicted"
            );
        }
    }
}

/// A failed creation leaves neither a session nor an idempotency record, so that a repetition
/// begins again.
pub async fn failed_creation_leaves_no_session_and_no_idempotency_record<H: Harness>(harness: &H) {
    let policy = SessionPolicy::new(MINUTE, None).expect("a valid policy");
    for when_reached in [AtLimit::Refuse, AtLimit::EvictOldest] {
        let limit = SubjectLimit {
            max: NonZero::<usize>::MIN,
            when_reached,
        };
        let policy = policy.with_subject_limit(Some(limit));
        let sessions = SessionManager::new(harness.repository(), policy);
        let subject = new_subject();
        let kept = store_session_of(&sessions, subject.as_str(), "first").await;
        let request = request("body");
        for _ in 0..2 {
            // With `EvictOldest`, the creation ends because the client no longer waits.
            let created = sessions.store_login_once(&request, login_of(&subject), || false);
            let error = created.await.expect_err("no session may be created");
            match when_reached {
                AtLimit::Refuse => assert!(
                    matches!(error, SessionError::TooManySessions),
                    "a creation at the session limit is rejected"
                ),
                AtLimit::EvictOldest => {
                    assert!(
                        matches!(&error, SessionError::Repository(error) if error.is_outage()),
                        "a creation that ends early fails as an outage"
                    )
                }
            }
            assert_eq!(
                find(sessions.repository(), &request).await,
                None,
                "a failed creation must leave no idempotency record"
            );
            assert_eq!(
                count_sessions(&sessions, &subject).await,
                1,
                "a failed creation must leave no session and end no session"
            );
            sessions
                .get(&kept.token)
                .await
                .expect("the session is live");
        }
    }
}
