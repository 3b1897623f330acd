//! Contract tests of requests with an `Idempotency-Key`: a repetition finishes the same operation,
//! and all requests with one key deliver one token.

use futures_util::future::{join, join_all};

use super::{
    Harness, base_url, cookies,
    idempotency::{MINUTE, begin, find, request, request_with_key, running},
    manager, store_session,
};
use crate::{
    IdempotentRequest, IdempotentSession, IndexEntry, Login, MoveOutcome, SessionError,
    SessionPatch, SessionRepository, SessionToken, SubjectIndex, UpdateError, VersionedSession,
};

pub(super) fn login() -> Login {
    Login::new(cookies([("SESSIONID", "a1b2c3")]), base_url())
}

/// Returns the token in the results of concurrent requests. Panics if two requests return different
/// tokens, or if a request fails with another error than `OperationInProgress`.
pub(super) fn delivered_token(
    results: Vec<Result<IdempotentSession, SessionError>>,
) -> Option<SessionToken> {
    let mut tokens = Vec::new();
    for result in results {
        match result {
            Ok(session) => tokens.push(session.token),
            Err(SessionError::OperationInProgress) => {}
            Err(error) => panic!("unexpected error: {error}"),
        }
    }
    assert!(
        tokens.windows(2).all(|pair| pair[0] == pair[1]),
        "all requests with one `Idempotency-Key` return the same token"
    );
    tokens.pop()
}

/// Stores the idempotency record of an abandoned rotation to the new token `successor`.
pub(super) async fn abandon_rotation<R: SessionRepository>(
    repository: &R,
    request: &IdempotentRequest,
    successor: &SessionToken,
) {
    let record = running(request, successor, repository.now());
    begin(repository, request, &record).await;
}

/// Moves the session of `token` to the new token `successor`, like a rotation with an
/// `Idempotency-Key`.
pub(super) async fn move_session<R: SessionRepository>(
    repository: &R,
    token: &SessionToken,
    successor: &SessionToken,
) {
    let found = repository.load_for_update(token, None).await;
    let VersionedSession { session, revision } = found
        .expect("the call succeeds")
        .expect("the session is live");
    if let Some(subject) = session.attributes.subject.clone() {
        let entry = IndexEntry {
            subject,
            token: successor.clone(),
            session: session.clone(),
            succeeds: Some(token.clone()),
            kept_for: MINUTE,
        };
        repository
            .subjects()
            .add(&entry)
            .await
            .expect("the call succeeds");
    }
    let moved = repository.move_repeatably(token, &revision, successor, &session, MINUTE);
    assert_eq!(
        moved.await.expect("the call succeeds"),
        MoveOutcome::Moved,
        "a move with the current revision succeeds"
    );
    if let Some(subject) = &session.attributes.subject {
        repository.subjects().remove_entry(subject, token);
    }
}

/// If a creation is repeated with the same `Idempotency-Key`, the repetition returns the token and
/// the lifetime that the first request has returned.
pub async fn repeated_creation_returns_the_same_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let request = request("body");
    let created = sessions.store_login_once(&request, login(), || true).await;
    let created = created.expect("the store accepts a session");
    assert!(
        !created.is_replay,
        "the first request with an `Idempotency-Key` is not a replay"
    );
    let repeated = sessions.store_login_once(&request, login(), || true).await;
    let repeated = repeated.expect("a replay");
    assert!(
        repeated.is_replay,
        "the second request with an `Idempotency-Key` is a replay"
    );
    assert_eq!(
        repeated.token, created.token,
        "a replay returns the token of the first request"
    );
    assert_eq!(
        repeated.result.ttl, created.result.ttl,
        "a replay returns the TTL of the first request"
    );
    assert_eq!(
        repeated.result.tag, created.result.tag,
        "a replay returns the entity tag of the first request"
    );
    sessions
        .get(&created.token)
        .await
        .expect("the session is live");
}

/// If a rotation is repeated with the same `Idempotency-Key`, the repetition returns the new token
/// of the first request, although the old token is invalid.
pub async fn repeated_rotation_returns_the_same_new_token<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    let request = request("");
    let rotated = sessions.rotate_once(&new.token, &request, || true).await;
    let rotated = rotated.expect("the session is live");
    assert!(
        !rotated.is_replay,
        "the first request with an `Idempotency-Key` is not a replay"
    );
    let repeated = sessions.rotate_once(&new.token, &request, || true).await;
    let repeated = repeated.expect("a replay");
    assert!(
        repeated.is_replay,
        "the second request with an `Idempotency-Key` is a replay"
    );
    assert_eq!(
        repeated.token, rotated.token,
        "a replay returns the new token of the first request"
    );
    sessions
        .get(&rotated.token)
        .await
        .expect("the session is live");
    let old = sessions.get(&new.token).await;
    assert!(
        matches!(old, Err(SessionError::NotFound)),
        "after a rotation, the old token is invalid"
    );
}

/// A request with the `Idempotency-Key` of a different request is rejected, and changes nothing.
pub async fn idempotency_key_of_another_request_is_rejected<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let key = SessionToken::generate();
    let first = request_with_key(key.expose_secret(), "first");
    let created = sessions.store_login_once(&first, login(), || true).await;
    let token = created.expect("the store accepts a session").token;
    let other = request_with_key(key.expose_secret(), "other");
    let created = sessions.store_login_once(&other, login(), || true).await;
    assert!(
        matches!(created, Err(SessionError::IdempotencyKeyReused)),
        "a key with the fingerprint of another request is rejected"
    );
    sessions.get(&token).await.expect("the session is live");
}

/// A rotation with an invalid token stores no idempotency record.
pub async fn rotation_of_an_unknown_token_stores_no_idempotency_record<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let request = request("");
    let unknown = SessionToken::generate();
    let rotated = sessions.rotate_once(&unknown, &request, || true).await;
    assert!(
        matches!(rotated, Err(SessionError::NotFound)),
        "the rotation of an unknown token returns NotFound"
    );
    assert_eq!(
        find(sessions.repository(), &request).await,
        None,
        "a rotation that returns NotFound must leave no idempotency record"
    );
}

/// Concurrent rotations with the same `Idempotency-Key` move the session to a new token once, and
/// all return this token. No rotation reports an invalid token.
pub async fn concurrent_rotations_with_one_key_return_one_new_token<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..10 {
        let request = request("");
        let new = store_session(&sessions).await;
        let all = (0..8).map(|_| sessions.rotate_once(&new.token, &request, || true));
        let token = delivered_token(join_all(all).await);
        let token = token.expect("at least one request succeeds");
        sessions.get(&token).await.expect("the session is live");
    }
}

/// A rotation with an `Idempotency-Key` keeps every acknowledged update of the session.
pub async fn rotation_with_a_key_keeps_concurrent_updates<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..10 {
        let new = store_session(&sessions).await;
        let request = request("");
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
        let rotated = sessions.rotate_once(&new.token, &request, || true);
        let (rotated, updates) = join(rotated, updates).await;
        let token = rotated.expect("the session is live").token;
        let read = sessions
            .get(&token)
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

/// Two rotations of one token run concurrently: one with an `Idempotency-Key`, and one without. The
/// rotation with the key either succeeds, or reports an invalid token and leaves no idempotency
/// record.
pub async fn exactly_one_of_a_rotation_with_a_key_and_one_without_succeeds<H: Harness>(
    harness: &H,
) {
    let sessions = manager(harness, 60);
    for _ in 0..20 {
        let new = store_session(&sessions).await;
        let request = request("");
        let with_key = sessions.rotate_once(&new.token, &request, || true);
        let (with_key, without) = join(with_key, sessions.rotate(&new.token)).await;
        let live = match (with_key, without) {
            (Ok(with_key), Err(SessionError::NotFound)) => with_key.token,
            (Err(SessionError::NotFound), Ok(without)) => {
                assert_eq!(
                    find(sessions.repository(), &request).await,
                    None,
                    "a rotation with a key that returns NotFound must leave no idempotency record"
                );
                without.token
            }
            both => panic!("exactly one of the two rotations must succeed: {both:?}"),
        };
        sessions.get(&live).await.expect("the session is live");
    }
}

/// If the caller of a rotation reports that too little time is left, the rotation fails and the old
/// token stays valid. A repetition succeeds at once, without waiting for a lease to end.
pub async fn rotation_without_time_keeps_the_old_token_and_can_be_repeated<H: Harness>(
    harness: &H,
) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    let request = request("");
    let declined = sessions.rotate_once(&new.token, &request, || false).await;
    assert!(
        matches!(declined, Err(SessionError::Repository(error)) if error.is_outage()),
        "a rotation without enough time left fails as an outage"
    );
    sessions.get(&new.token).await.expect("the session is live");
    let repeated = sessions.rotate_once(&new.token, &request, || true).await;
    let token = repeated.expect("the session is live").token;
    sessions.get(&token).await.expect("the session is live");
}
