//! Contract tests of abandoned requests with an `Idempotency-Key`. A request is abandoned if its
//! server instance stops before the operation is finished. A repetition then finishes the
//! operation.

use futures_util::future::join_all;

use super::{
    Harness,
    idempotency::{MINUTE, begin, request, running},
    manager,
    repetitions::{abandon_rotation, delivered_token, login, move_session},
    store_session,
};
use crate::{
    IdempotencyStore, InsertOutcome, Session, SessionError, SessionRepository, SessionToken,
};

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
        assert_eq!(
            delivered.as_ref(),
            Some(&successor),
            "repetitions return the token that the abandoned rotation has generated"
        );
        sessions.get(&successor).await.expect("the session is live");
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
            assert_eq!(
                inserted.expect("the call succeeds"),
                InsertOutcome::Inserted,
                "the first insert under a token stores the session"
            );
        }
        let repeated = sessions.store_login_once(&request, login(), || true);
        let repeated = repeated.await;
        assert!(
            matches!(repeated, Err(SessionError::OperationInProgress)),
            "a repetition during the lease returns OperationInProgress"
        );

        let record = running(&request, &token, now);
        let store = repository.idempotency();
        let ended = store.replace(&request.key, &seen, &record, MINUTE);
        ended
            .await
            .expect("the call succeeds")
            .expect("the record has not changed since the revision");
        let repeated = sessions.store_login_once(&request, login(), || true);
        let repeated = repeated
            .await
            .expect("the repetition finishes the operation");
        assert!(
            repeated.is_replay,
            "a repetition after the lease finishes the operation as a replay"
        );
        assert_eq!(
            repeated.token == token,
            is_stored,
            "a repetition returns the token of the first request exactly if its session is stored"
        );
        sessions
            .get(&repeated.token)
            .await
            .expect("the session is live");

        // A command of the first request arrives late. The client has ended the session by then.
        sessions
            .delete(&repeated.token)
            .await
            .expect("the call succeeds");
        if !is_stored {
            let late = repository.insert(&token, &session, MINUTE).await;
            assert_eq!(
                late.expect("the call succeeds"),
                InsertOutcome::Inserted,
                "a late insert under the unused token stores its session"
            );
        }
        let ended = sessions.get(&repeated.token).await;
        assert!(
            matches!(ended, Err(SessionError::NotFound)),
            "a late command of the first request must not restore the deleted session"
        );
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
        let repeated = repeated.expect("the repetition finishes the operation");
        assert!(
            repeated.is_replay,
            "a repetition after the lease finishes the operation as a replay"
        );
        assert_eq!(
            repeated.token, successor,
            "a repetition returns the token that the abandoned rotation has generated"
        );
        sessions.get(&successor).await.expect("the session is live");
        let old = sessions.get(&new.token).await;
        assert!(
            matches!(old, Err(SessionError::NotFound)),
            "after a rotation, the old token is invalid"
        );
    }
}
