//! Contract tests of concurrent requests: deletes, reads and the use of many sessions.

use futures_util::{
    FutureExt,
    future::{join, join_all},
};

use super::{Harness, base_url, cookies, manager, store_session};
use crate::SessionError;

/// Exactly one of many concurrent deletes of a session returns `true`.
pub async fn exactly_one_of_many_concurrent_deletes_succeeds<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    let deletes = (0..16).map(|_| sessions.delete(&new.token));
    let outcomes = join_all(deletes).await;
    let deleted = outcomes
        .into_iter()
        .map(|outcome| outcome.expect("the call succeeds"));
    assert_eq!(
        deleted.filter(|deleted| *deleted).count(),
        1,
        "exactly one of many concurrent deletes returns true"
    );
}

/// Reads that run concurrently with a delete do not restore the session.
pub async fn concurrent_reads_do_not_restore_a_deleted_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..20 {
        let new = store_session(&sessions).await;
        let reads = join_all((0..16).map(|_| sessions.get(&new.token)));
        let delete = sessions.delete(&new.token).then(async |deleted| {
            assert!(
                deleted.expect("the call succeeds"),
                "the delete of a live session returns true"
            );
            sessions.get(&new.token).await
        });
        let (reads, after_delete) = join(reads, delete).await;
        assert!(
            matches!(after_delete, Err(SessionError::NotFound)),
            "after an acknowledged delete, `get` finds no session"
        );
        for read in reads {
            assert!(
                matches!(read, Ok(_) | Err(SessionError::NotFound)),
                "a read during a delete returns the session or NotFound: {read:?}"
            );
        }
        assert!(
            !sessions
                .exists(&new.token)
                .await
                .expect("the call succeeds"),
            "reads during a delete must not restore the session"
        );
    }
}

/// Each of many concurrently used tokens gives access only to the session for which it was created.
pub async fn concurrently_used_tokens_return_only_their_own_sessions<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let checks = (0..200).map(|n| {
        let (sessions, value) = (&sessions, format!("value-{n}"));
        async move {
            let given = cookies([("n", value.as_str())]);
            let new = sessions
                .store(given, base_url())
                .await
                .expect("the store accepts a session");
            let active = sessions.get(&new.token).await.expect("the session is live");
            assert_eq!(
                active.session.cookies.get("n"),
                Some(value.as_str()),
                "a token gives access only to its own session"
            );
            if n % 2 == 0 {
                assert!(
                    sessions
                        .delete(&new.token)
                        .await
                        .expect("the call succeeds"),
                    "the delete of a live session returns true"
                );
            }
            let is_live = sessions
                .exists(&new.token)
                .await
                .expect("the call succeeds");
            assert_eq!(
                is_live,
                n % 2 == 1,
                "a delete ends only the session of its own token"
            );
        }
    });
    join_all(checks).await;
}
