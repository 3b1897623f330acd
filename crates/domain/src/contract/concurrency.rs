//! Many at once.

use futures_util::{
    FutureExt,
    future::{join, join_all},
};

use super::{Harness, base_url, cookies, manager, stored};
use crate::SessionError;

/// Of several deletes of one session, one says that it did it.
pub async fn one_of_many_concurrent_deletes_wins<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = stored(&sessions).await;
    let deletes = (0..16).map(|_| sessions.delete(&new.token));
    let outcomes = join_all(deletes).await;
    let deleted = outcomes
        .into_iter()
        .map(|outcome| outcome.expect("the store answers"));
    assert_eq!(deleted.filter(|deleted| *deleted).count(), 1);
}

/// However reads and a delete interleave, after the delete's answer there is nothing.
pub async fn reads_that_race_a_delete_never_bring_it_back<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..20 {
        let new = stored(&sessions).await;
        let reads = join_all((0..16).map(|_| sessions.get(&new.token)));
        let delete = sessions.delete(&new.token).then(async |deleted| {
            assert!(deleted.expect("the store answers"));
            sessions.get(&new.token).await
        });
        let (reads, after_delete) = join(reads, delete).await;
        assert!(matches!(after_delete, Err(SessionError::NotFound)));
        for read in reads {
            assert!(
                matches!(read, Ok(_) | Err(SessionError::NotFound)),
                "{read:?}"
            );
        }
        assert!(
            !sessions
                .exists(&new.token)
                .await
                .expect("the store answers")
        );
    }
}

/// Each token opens its own session and no other.
pub async fn many_concurrent_sessions_keep_apart<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let checks = (0..200).map(|n| {
        let (sessions, value) = (&sessions, format!("value-{n}"));
        async move {
            let given = cookies([("n", value.as_str())]);
            let new = sessions
                .store(given, base_url())
                .await
                .expect("the store takes it");
            let active = sessions.get(&new.token).await.expect("it lives");
            assert_eq!(active.session.cookies.get("n"), Some(value.as_str()));
            if n % 2 == 0 {
                assert!(
                    sessions
                        .delete(&new.token)
                        .await
                        .expect("the store answers")
                );
            }
            let lives = sessions
                .exists(&new.token)
                .await
                .expect("the store answers");
            assert_eq!(lives, n % 2 == 1);
        }
    });
    join_all(checks).await;
}
