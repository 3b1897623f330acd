//! Contract tests of requests with an `Idempotency-Key`: a repetition finishes the same operation,
//! and all requests with one key deliver one token.

use futures_util::future::{join, join_all};

use super::{
    Harness, base_url, cookies,
    idempotency::{MINUTE, begin, find, request, request_with_key, running},
    manager, store_session,
};
use crate::{
    IdempotencyStore, IdempotentRequest, IdempotentSession, IndexEntry, InsertOutcome, Login,
    MoveOutcome, Session, SessionError, SessionPatch, SessionRepository, SessionToken,
    SubjectIndex, UpdateError, VersionedSession,
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
            Err(error) => panic!("{error}"),
        }
    }
    assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]));
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
    let VersionedSession { session, revision } = found.expect("a reply").expect("it lives");
    if let Some(subject) = session.attributes.subject.clone() {
        let entry = IndexEntry {
            subject,
            token: successor.clone(),
            session: session.clone(),
            succeeds: Some(token.clone()),
            kept_for: MINUTE,
        };
        repository.subjects().add(&entry).await.expect("a reply");
    }
    let moved = repository.move_repeatably(token, &revision, successor, &session, MINUTE);
    assert_eq!(moved.await.expect("a reply"), MoveOutcome::Moved);
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
    assert!(!created.is_replay);
    let repeated = sessions.store_login_once(&request, login(), || true).await;
    let repeated = repeated.expect("a replay");
    assert!(repeated.is_replay);
    assert_eq!(repeated.token, created.token);
    assert_eq!(repeated.result.ttl, created.result.ttl);
    assert_eq!(repeated.result.tag, created.result.tag);
    sessions.get(&created.token).await.expect("it lives");
}

/// If a rotation is repeated with the same `Idempotency-Key`, the repetition returns the new token
/// of the first request, although the old token is invalid.
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

/// A request with the `Idempotency-Key` of a different request is rejected, and changes nothing.
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
    assert_eq!(find(sessions.repository(), &request).await, None);
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
        let token = token.expect("one of them succeeds");
        sessions.get(&token).await.expect("it lives");
    }
}

/// A rotation was abandoned, and many repetitions take it over at the same time. The session is
/// then stored under the token that the abandoned rotation has generated, and the repetitions
/// return no other token.
pub async fn concurrent_repetitions_of_an_abandoned_rotation_return_one_new_token<H: Harness>(
    harness: &H,
) {
    let sessions = manager(harness, 60);
    let repository = sessions.repository();
    for is_moved in [true, false, true, false] {
        let (request, successor) = (request(""), SessionToken::generate());
        let new = store_session(&sessions).await;
        abandon_rotation(repository, &request, &successor).await;
        if is_moved {
            move_session(repository, &new.token, &successor).await;
        }
        let all = (0..8).map(|_| sessions.rotate_once(&new.token, &request, || true));
        let delivered = delivered_token(join_all(all).await);
        assert_eq!(delivered.as_ref(), Some(&successor));
        sessions.get(&successor).await.expect("it lives");
    }
}

/// A creation was abandoned. During its lease, a repetition is rejected. After its lease, a
/// repetition finds the session that the abandoned creation has stored. If no session is stored,
/// the repetition uses another token, because a delayed command of the abandoned creation could
/// still store the session under the first token.
pub async fn abandoned_creation_is_finished_by_a_repetition_after_the_lease<H: Harness>(
    harness: &H,
) {
    let sessions = manager(harness, 60);
    let repository = sessions.repository();
    for is_stored in [true, false] {
        let request = request("body");
        let token = SessionToken::generate();
        let now = repository.now();
        let seen = begin(
            repository,
            &request,
            &running(&request, &token, now + MINUTE),
        )
        .await;
        let session = Session::new(login(), now, None);
        if is_stored {
            let inserted = repository.insert(&token, &session, MINUTE).await;
            assert_eq!(inserted.expect("a reply"), InsertOutcome::Inserted);
        }
        let repeated = sessions.store_login_once(&request, login(), || true);
        let repeated = repeated.await;
        assert!(matches!(repeated, Err(SessionError::OperationInProgress)));

        let record = running(&request, &token, now);
        let store = repository.idempotency();
        let ended = store.replace(&request.key, &seen, &record, MINUTE);
        ended.await.expect("a reply").expect("it is unchanged");
        let repeated = sessions.store_login_once(&request, login(), || true);
        let repeated = repeated.await.expect("the operation is finished");
        assert!(repeated.is_replay);
        assert_eq!(repeated.token == token, is_stored);
        sessions.get(&repeated.token).await.expect("it lives");

        // A command of the first request arrives late. The client has ended the session by then.
        sessions.delete(&repeated.token).await.expect("a reply");
        if !is_stored {
            let late = repository.insert(&token, &session, MINUTE).await;
            assert_eq!(late.expect("a reply"), InsertOutcome::Inserted);
        }
        let ended = sessions.get(&repeated.token).await;
        assert!(matches!(ended, Err(SessionError::NotFound)));
    }
}

/// A rotation was abandoned. After its lease, a repetition moves the session to the new token that
/// the abandoned rotation has generated, or finds the session under this token.
pub async fn abandoned_rotation_is_finished_with_the_same_token<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let repository = sessions.repository();
    for is_moved in [true, false] {
        let new = store_session(&sessions).await;
        let (request, successor) = (request(""), SessionToken::generate());
        abandon_rotation(repository, &request, &successor).await;
        if is_moved {
            move_session(repository, &new.token, &successor).await;
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
                    Err(error) => panic!("the store answers: {error}"),
                }
            }
        }));
        let rotated = sessions.rotate_once(&new.token, &request, || true);
        let (rotated, updates) = join(rotated, updates).await;
        let token = rotated.expect("it lives").token;
        let read = sessions.get(&token).await.expect("it lives").session;
        let updates: Vec<_> = updates.into_iter().flatten().collect();
        assert_eq!(read.cookies.len(), 1 + updates.len());
        for writer in updates {
            assert_eq!(read.cookies.get(&format!("writer-{writer}")), Some("1"));
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
                assert_eq!(find(sessions.repository(), &request).await, None);
                without.token
            }
            both => panic!("{both:?}"),
        };
        sessions.get(&live).await.expect("it lives");
    }
}

/// If too little time is left for the last steps of a rotation, the rotation fails and the old
/// token stays valid. A repetition can start the rotation again at once.
pub async fn rotation_without_time_keeps_the_old_token_and_can_be_repeated<H: Harness>(
    harness: &H,
) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    let request = request("");
    let declined = sessions.rotate_once(&new.token, &request, || false).await;
    assert!(matches!(declined, Err(SessionError::Repository(error)) if error.is_outage()));
    sessions.get(&new.token).await.expect("it lives");
    let repeated = sessions.rotate_once(&new.token, &request, || true).await;
    let token = repeated.expect("it lives").token;
    sessions.get(&token).await.expect("it lives");
}
