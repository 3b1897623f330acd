//! Contract tests of requests with an `Idempotency-Key`: a repetition finishes the same operation
//! with the same token.

use std::time::Duration;

use futures_util::future::join_all;
use time::OffsetDateTime;

use super::{Harness, base_url, cookies, manager, store_session};
use crate::{
    EntityTag, IdempotencyKey, IdempotencyRecord, IdempotencyState, IdempotencyStore,
    IdempotentRequest, IdempotentResult, InsertOutcome, Login, MoveOutcome, Session, SessionError,
    SessionRepository, SessionToken, VersionedSession,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Returns a request with a new random key, and with `body`.
fn request(body: &str) -> IdempotentRequest {
    let random = SessionToken::generate();
    request_with_key(random.expose_secret(), body)
}

fn request_with_key(key: &str, body: &str) -> IdempotentRequest {
    let key = IdempotencyKey::derive("contract suite", b"credential", key.as_bytes());
    IdempotentRequest {
        fingerprint: key.fingerprint(body.as_bytes()),
        key,
        lease: MINUTE,
    }
}

fn login() -> Login {
    Login::new(cookies([("SESSIONID", "a1b2c3")]), base_url())
}

/// Returns the record of a running operation whose lease ends at `until`.
fn running(
    request: &IdempotentRequest,
    token: &SessionToken,
    until: OffsetDateTime,
) -> IdempotencyRecord {
    IdempotencyRecord {
        fingerprint: request.fingerprint,
        token: token.clone(),
        state: IdempotencyState::Running { until },
    }
}

/// The store keeps the first record with a key, returns it unchanged, and replaces and removes it
/// on request.
pub async fn first_idempotency_record_with_a_key_is_kept_and_read_back_unchanged<H: Harness>(
    harness: &H,
) {
    let repository = harness.repository();
    let store = repository.idempotency();
    let request = request("body");
    let key = &request.key;
    // Stored times have a resolution of microseconds.
    let now = OffsetDateTime::UNIX_EPOCH + time::Duration::microseconds(1_700_000_000_123_456);
    let first = running(&request, &SessionToken::generate(), now);
    let second = running(&request, &SessionToken::generate(), now);
    assert_eq!(store.find(key).await.expect("a reply"), None);
    let begun = store.begin(key, &first, MINUTE).await;
    assert_eq!(begun.expect("a reply"), None);
    let begun = store.begin(key, &second, MINUTE).await;
    assert_eq!(begun.expect("a reply"), Some(first.clone()));
    assert_eq!(store.find(key).await.expect("a reply"), Some(first.clone()));

    let session = Session::new(login(), now, None);
    let done = IdempotencyRecord {
        state: IdempotencyState::Done(IdempotentResult {
            ttl: MINUTE,
            expires_at: now + MINUTE,
            tag: EntityTag::of(&first.token, &session),
        }),
        ..first
    };
    store.replace(key, &done).await.expect("a reply");
    assert_eq!(store.find(key).await.expect("a reply"), Some(done.clone()));
    store.forget(key).await.expect("a reply");
    store.replace(key, &done).await.expect("a reply");
    assert_eq!(store.find(key).await.expect("a reply"), None);
}

/// An idempotency record expires after its lifetime, also if it was replaced.
pub async fn idempotency_record_expires_after_its_lifetime<H: Harness>(harness: &H) {
    let repository = harness.repository();
    let store = repository.idempotency();
    let request = request("body");
    let record = running(&request, &SessionToken::generate(), repository.now());
    let begun = store
        .begin(&request.key, &record, Duration::from_secs(2))
        .await;
    assert_eq!(begun.expect("a reply"), None);
    harness.pass(Duration::from_secs(1)).await;
    store.replace(&request.key, &record).await.expect("a reply");
    harness.pass(Duration::from_millis(1_250)).await;
    assert_eq!(store.find(&request.key).await.expect("a reply"), None);
}

/// A repeated creation returns the token and the lifetime of the first one.
pub async fn repeated_creation_returns_the_same_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let request = request("body");
    let created = sessions.store_login_once(&request, login(), || true).await;
    let created = created.expect("the store accepts a session");
    assert!(!created.is_replay);
    let repeated = sessions.store_login_once(&request, login(), || true).await;
    let repeated = repeated.expect("a replay");
    assert!(repeated.is_replay);
    assert_eq!(repeated.token, created.token);
    assert_eq!(repeated.result.ttl, created.result.ttl);
    assert_eq!(repeated.result.tag, created.result.tag);
    sessions.get(&created.token).await.expect("it lives");
}

/// A repeated rotation returns the new token of the first one, although the old token is invalid.
pub async fn repeated_rotation_returns_the_same_new_token<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    let request = request("");
    let rotated = sessions.rotate_once(&new.token, &request, || true).await;
    let rotated = rotated.expect("it lives");
    assert!(!rotated.is_replay);
    let repeated = sessions.rotate_once(&new.token, &request, || true).await;
    let repeated = repeated.expect("a replay");
    assert!(repeated.is_replay);
    assert_eq!(repeated.token, rotated.token);
    sessions.get(&rotated.token).await.expect("it lives");
    let old = sessions.get(&new.token).await;
    assert!(matches!(old, Err(SessionError::NotFound)));
}

/// A request with the key of a different request is rejected, and changes nothing.
pub async fn idempotency_key_of_another_request_is_rejected<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let key = SessionToken::generate();
    let first = request_with_key(key.expose_secret(), "first");
    let created = sessions.store_login_once(&first, login(), || true).await;
    let token = created.expect("the store accepts a session").token;
    let other = request_with_key(key.expose_secret(), "other");
    let created = sessions.store_login_once(&other, login(), || true).await;
    assert!(matches!(created, Err(SessionError::IdempotencyKeyReused)));
    sessions.get(&token).await.expect("it lives");
}

/// A rotation with an invalid token stores no idempotency record.
pub async fn rotation_of_an_unknown_token_stores_no_idempotency_record<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let request = request("");
    let unknown = SessionToken::generate();
    let rotated = sessions.rotate_once(&unknown, &request, || true).await;
    assert!(matches!(rotated, Err(SessionError::NotFound)));
    let store = sessions.repository().idempotency();
    assert_eq!(store.find(&request.key).await.expect("a reply"), None);
}

/// Concurrent creations with one key create one session. Each of them returns its token, or an
/// error that says that another request is still running.
pub async fn concurrent_creations_with_one_key_create_one_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..10 {
        let request = request("body");
        let all = (0..8).map(|_| sessions.store_login_once(&request, login(), || true));
        let mut tokens = Vec::new();
        for created in join_all(all).await {
            match created {
                Ok(created) => tokens.push(created.token),
                Err(SessionError::OperationInProgress) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]));
        let token = tokens.first().expect("one of them succeeds");
        sessions.get(token).await.expect("it lives");
    }
}

/// A repetition during the lease of an abandoned creation is rejected. A repetition after the lease
/// finds the session that was stored, and returns its token.
pub async fn abandoned_creation_is_finished_with_the_same_token<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let repository = sessions.repository();
    let store = repository.idempotency();
    for is_stored in [true, false] {
        let request = request("body");
        let token = SessionToken::generate();
        let now = repository.now();
        let record = running(&request, &token, now + MINUTE);
        let begun = store.begin(&request.key, &record, MINUTE).await;
        assert_eq!(begun.expect("a reply"), None);
        if is_stored {
            let session = Session::new(login(), now, None);
            let inserted = repository.insert(&token, &session, MINUTE).await;
            assert_eq!(inserted.expect("a reply"), InsertOutcome::Inserted);
        }
        let repeated = sessions.store_login_once(&request, login(), || true).await;
        assert!(matches!(repeated, Err(SessionError::OperationInProgress)));

        let record = running(&request, &token, now);
        store.replace(&request.key, &record).await.expect("a reply");
        let repeated = sessions.store_login_once(&request, login(), || true).await;
        let repeated = repeated.expect("the operation is finished");
        assert!(repeated.is_replay);
        assert_eq!(repeated.token, token);
        sessions.get(&token).await.expect("it lives");
    }
}

/// A repetition after the lease of an abandoned rotation moves the session to the same new token,
/// or finds it there.
pub async fn abandoned_rotation_is_finished_with_the_same_token<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let repository = sessions.repository();
    for is_moved in [true, false] {
        let new = store_session(&sessions).await;
        let (request, successor) = (request(""), SessionToken::generate());
        let record = running(&request, &successor, repository.now());
        let begun = repository
            .idempotency()
            .begin(&request.key, &record, MINUTE);
        assert_eq!(begun.await.expect("a reply"), None);
        if is_moved {
            let found = repository.load_for_update(&new.token).await;
            let VersionedSession { session, revision } = found.expect("a reply").expect("it lives");
            let moved = repository
                .move_to_new_token(&new.token, &revision, &successor, &session, MINUTE)
                .await;
            assert_eq!(moved.expect("a reply"), MoveOutcome::Moved);
        }
        let repeated = sessions.rotate_once(&new.token, &request, || true).await;
        let repeated = repeated.expect("the operation is finished");
        assert!(repeated.is_replay);
        assert_eq!(repeated.token, successor);
        sessions.get(&successor).await.expect("it lives");
        let old = sessions.get(&new.token).await;
        assert!(matches!(old, Err(SessionError::NotFound)));
    }
}

/// A failed creation leaves no idempotency record, so that a repetition begins again.
pub async fn failed_creation_leaves_no_idempotency_record<H: Harness>(harness: &H) {
    use crate::{AtLimit, SessionManager, SessionPolicy, SubjectLimit};
    let policy = SessionPolicy::new(MINUTE, None).expect("a valid policy");
    let limit = SubjectLimit {
        max: std::num::NonZero::<usize>::MIN,
        when_reached: AtLimit::Refuse,
    };
    let sessions =
        SessionManager::new(harness.repository(), policy.with_subject_limit(Some(limit)));
    let subject = format!("member-{}", SessionToken::generate().prefix());
    super::store_session_of(&sessions, &subject, "first").await;
    let login = || Login {
        attributes: crate::SessionAttributes::of_subject(subject.parse().expect("a subject")),
        ..login()
    };
    let request = request("body");
    for _ in 0..2 {
        let created = sessions.store_login_once(&request, login(), || true).await;
        assert!(matches!(created, Err(SessionError::TooManySessions)));
        let store = sessions.repository().idempotency();
        assert_eq!(store.find(&request.key).await.expect("a reply"), None);
    }
}
