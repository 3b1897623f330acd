//! Contract tests of merges: no merge is lost, no merge restores a deleted session, and a merge
//! without a change writes nothing.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::{
    Harness, base_url, cookies, manager, manager_with_touch_interval, pass, repeat_if_late,
    store_session,
};
use crate::{
    CookieUrl, Cookies, MergedSession, SessionError, SessionManager, SessionPatch,
    SessionRepository, SessionToken, SetCookieLines, SwapOutcome, UpdateError,
};

const SECOND: Duration = Duration::from_secs(1);

async fn merge<R: SessionRepository>(
    sessions: &SessionManager<R>,
    token: &SessionToken,
    line: &str,
) -> Result<MergedSession, UpdateError> {
    let loaded = sessions.load_for_merge(token).await?;
    let url = CookieUrl::of(&base_url()).expect("a URL");
    let update = SetCookieLines::new(url, [line.to_owned()]);
    sessions
        .merge_loaded(token, loaded, &update, |_| true)
        .await
}

/// Merges `line` into a live session.
async fn merge_live<R: SessionRepository>(
    sessions: &SessionManager<R>,
    token: &SessionToken,
    line: &str,
) -> MergedSession {
    let merged = merge(sessions, token, line).await;
    merged.expect("a live session accepts a merge")
}

fn is_not_found(error: &UpdateError) -> bool {
    matches!(error, UpdateError::Session(SessionError::NotFound))
}

/// Merged cookies are loaded with their attributes, even after a rotation. Cookies with the same
/// name and different paths are all kept.
pub async fn merged_cookies_and_their_attributes_are_read_back<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    let lines = [
        "SESSIONID=new; Path=/; Secure",
        "id=1; Path=/members; Max-Age=3600",
        "id=2; Path=/admin; Domain=golf.example",
        "token",
    ];
    let mut merged = Cookies::default();
    for line in lines {
        let result = merge_live(&sessions, &new.token, line).await;
        assert!(
            result.ignored.is_empty(),
            "no `Set-Cookie` line of the example may be ignored"
        );
        merged = result.active.session.cookies;
    }
    assert_eq!(
        (merged.len(), merged.others().len()),
        (3, 1),
        "the merge keeps both cookies with the name `id`, because their paths differ"
    );
    let read = sessions.get(&new.token).await.expect("the session is live");
    assert_eq!(
        read.session.cookies, merged,
        "cookies and their attributes are read back as they were merged"
    );
    let rotated = sessions
        .rotate(&new.token)
        .await
        .expect("the session is live");
    assert_eq!(
        rotated.session.cookies, merged,
        "a rotation keeps cookies and their attributes"
    );
    let read = sessions
        .get(&rotated.token)
        .await
        .expect("the session is live");
    assert_eq!(
        read.session.cookies, merged,
        "cookies and their attributes are read back under the new token"
    );
}

/// A merge renews the idle timeout, even if the merge changes no cookie.
pub async fn merge_renews_the_idle_timeout<H: Harness>(harness: &H) {
    repeat_if_late(SECOND * 3 / 4, async |pace| {
        let sessions = manager(harness, pace.seconds(2));
        let new = store_session(&sessions).await;
        for _ in 0..3 {
            pass(pace, harness, SECOND * 5 / 4).await;
            merge_live(&sessions, &new.token, "a=1").await;
        }
        pass(pace, harness, SECOND * 9 / 4).await;
        let merged = merge(&sessions, &new.token, "a=1").await;
        assert!(
            merged.is_err_and(|error| is_not_found(&error)),
            "the merge into an expired session returns NotFound"
        );
    })
    .await;
}

/// A merge within the touch interval renews the TTL only if the merge changes a cookie.
pub async fn merge_within_the_touch_interval_does_not_renew_the_ttl<H: Harness>(harness: &H) {
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
        let removal = "unknown=; Max-Age=0";
        merge_live(&sessions, &new.token, removal).await;
        let renewed = remaining().await;
        pass(pace, harness, SECOND).await;
        merge_live(&sessions, &new.token, removal).await;
        assert!(
            remaining().await <= renewed - SECOND * 9 / 10,
            "a merge within the touch interval that changes no cookie must not renew the TTL"
        );
        merge_live(&sessions, &new.token, "a=1").await;
        assert!(
            remaining().await > renewed - SECOND * 9 / 10,
            "a merge that changes a cookie renews the TTL"
        );
    })
    .await;
}

/// An expired cookie is no longer returned, but the session stays live.
pub async fn expired_cookies_are_left_out<H: Harness>(harness: &H) {
    repeat_if_late(SECOND * 3 / 4, async |pace| {
        let sessions = manager(harness, 60);
        let new = store_session(&sessions).await;
        let line = format!("short=1; Max-Age={}", pace.seconds(2));
        let merged = merge_live(&sessions, &new.token, &line).await;
        assert_eq!(
            merged.active.session.cookies.len(),
            2,
            "a merged cookie is added to the cookies of the session"
        );
        pass(pace, harness, SECOND * 5 / 4).await;
        let read = sessions
            .get(&new.token)
            .await
            .expect("the session is live")
            .session;
        assert_eq!(
            read.cookies, merged.active.session.cookies,
            "a cookie is returned until it expires"
        );
        pass(pace, harness, SECOND * 7 / 4).await;
        let read = sessions
            .get(&new.token)
            .await
            .expect("the session is live")
            .session;
        assert_eq!(
            read.cookies,
            cookies([("SESSIONID", "a1b2c3")]),
            "an expired cookie is not returned"
        );
    })
    .await;
}

/// A merge and an update that run at the same time are both applied.
pub async fn concurrent_merges_and_updates_are_not_lost<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    for round in 0..20 {
        let line = format!("merged{round}=1; Path=/");
        let patch = SessionPatch::default().set_cookie(format!("set{round}"), "1");
        let merged = merge(&sessions, &new.token, &line);
        let updated = sessions.update(&new.token, &patch, |_| true);
        let (merged, updated) = join(merged, updated).await;
        merged.expect("the session is live");
        updated.expect("the session is live");
    }
    let read = sessions
        .get(&new.token)
        .await
        .expect("the session is live")
        .session;
    assert_eq!(
        read.cookies.len(),
        41,
        "no merge or update may be lost: one cookie from the login, 20 merged, 20 updated"
    );
    let with_attributes = read.cookies.with_attributes();
    let merged = with_attributes.filter(|(_, _, attributes)| attributes.is_some());
    assert_eq!(
        merged.count(),
        20,
        "exactly the 20 merged cookies have attributes"
    );
}

/// A merge that changes nothing does not write the record.
pub async fn merge_without_a_change_writes_nothing<H: Harness>(harness: &H) {
    let (sessions, repository) = (manager(harness, 60), harness.repository());
    let new = store_session(&sessions).await;
    let line = "a=1; Path=/; Max-Age=3600";
    merge_live(&sessions, &new.token, line).await;
    let seen = repository.load_for_update(&new.token, None).await;
    let seen = seen
        .expect("the call succeeds")
        .expect("the session is live");
    merge_live(&sessions, &new.token, line).await;
    let swapped =
        repository.compare_and_swap(&new.token, &seen.revision, &seen.session, SECOND * 60);
    assert_eq!(
        swapped.await.expect("the call succeeds"),
        SwapOutcome::Swapped,
        "a merge without a change must not change the revision of the session"
    );
}

/// After many concurrent merges, the session contains the cookies of all of them.
pub async fn concurrent_merges_are_not_lost<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session(&sessions).await;
    let merges = (0..50).map(|n| {
        let (sessions, token) = (&sessions, &new.token);
        async move {
            let line = format!("c{n}={n}; Path=/");
            merge(sessions, token, &line)
                .await
                .expect("a concurrent change is applied after the others");
        }
    });
    join_all(merges).await;
    let read = sessions
        .get(&new.token)
        .await
        .expect("the session is live")
        .session;
    assert_eq!(
        read.cookies.len(),
        51,
        "no concurrent merge may be lost: one cookie from the login, 50 merged"
    );
}

/// Merges that run concurrently with a delete do not restore the session.
pub async fn concurrent_merges_do_not_restore_a_deleted_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for round in 0..20 {
        let new = store_session(&sessions).await;
        let line = format!("round={round}");
        let merges = join_all((0..8).map(|_| merge(&sessions, &new.token, &line)));
        let (merges, deleted) = join(merges, sessions.delete(&new.token)).await;
        assert!(
            deleted.expect("the call succeeds"),
            "the delete of a live session returns true"
        );
        for merged in merges {
            assert!(
                merged.is_ok() || merged.is_err_and(|error| is_not_found(&error)),
                "a merge during a delete succeeds or returns NotFound"
            );
        }
        let exists = sessions.exists(&new.token).await;
        assert!(
            !exists.expect("the call succeeds"),
            "a merge during a delete must not restore the session"
        );
    }
}
