//! Contract tests of two operations: listing the sessions of a subject, and finding a session by
//! its id.

use std::time::Duration;

use super::{Harness, manager, pass, repeat_if_late, store_session, store_session_of};
use crate::{ListedSession, NewSession, SessionId, SessionManager, SessionRepository, Subject};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn subject(name: &str) -> Subject {
    name.parse().expect("a valid subject")
}

/// Returns all sessions of the subject, read in pages of up to `limit` sessions.
pub(super) async fn list_all_pages<R: SessionRepository>(
    sessions: &SessionManager<R>,
    name: &str,
    limit: usize,
) -> Vec<ListedSession> {
    let mut listed = Vec::new();
    let mut after = None;
    // The number of pages is limited, so that the test fails if the cursors never reach the last
    // page.
    for _ in 0..1_000 {
        let page = sessions.list(&subject(name), after, limit).await;
        let page = page.expect("the call succeeds");
        assert!(
            page.sessions.len() <= limit,
            "a page has at most `limit` sessions"
        );
        listed.extend(page.sessions);
        after = page.next;
        if after.is_none() {
            return listed;
        }
    }
    panic!("the cursors of a list must lead to a last page");
}

fn ids_of<'a>(sessions: impl IntoIterator<Item = &'a NewSession>) -> Vec<SessionId> {
    let sessions = sessions.into_iter();
    sessions.map(|new| SessionId::of(&new.token)).collect()
}

pub(super) async fn is_live<R: SessionRepository>(
    sessions: &SessionManager<R>,
    new: &NewSession,
) -> bool {
    sessions
        .exists(&new.token)
        .await
        .expect("the call succeeds")
}

/// A list contains all sessions of the subject, oldest first, and no session of another subject.
pub async fn sessions_of_a_subject_are_listed_oldest_first<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    store_session(&sessions).await;
    store_session_of(&sessions, "another", "laptop").await;
    let first = store_session_of(&sessions, "member{1}", "telephone").await;
    let second = store_session_of(&sessions, "member{1}", "laptop").await;
    let listed = list_all_pages(&sessions, "member{1}", 10).await;
    let shown: Vec<_> = listed
        .iter()
        .map(|session| (session.id, &session.attributes))
        .collect();
    let [first_id, second_id] = ids_of([&first, &second])[..] else {
        panic!("two sessions have two ids");
    };
    assert_eq!(
        shown,
        [
            (first_id, &first.session.attributes),
            (second_id, &second.session.attributes)
        ],
        "a list contains all sessions of the subject with their attributes, oldest first"
    );
    let entry = &listed[0];
    let created_at = sessions
        .get(&first.token)
        .await
        .expect("the session is live")
        .session
        .created_at;
    let error = time::Duration::seconds(2);
    assert!(
        (entry.created_at - created_at).abs() < time::Duration::milliseconds(1),
        "the list contains the creation time of the session"
    );
    assert!(
        (entry.last_seen - created_at).abs() < error,
        "the list contains the time of the last access, to 2 s"
    );
    assert!(
        (entry.expires_at - first.expires_at).abs() < error,
        "the list contains the end of the session, to 2 s"
    );
    let others = list_all_pages(&sessions, "nobody", 10).await;
    assert!(
        others.is_empty(),
        "a subject without sessions has an empty list"
    );
}

/// A subject may contain any characters except control characters. Subjects that differ only in
/// their Unicode normalization are different subjects.
pub async fn subjects_may_contain_any_characters<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let composed = store_session_of(&sessions, "J\u{f6}rg M. {1}", "\u{1f3cc} Telefon").await;
    let decomposed = store_session_of(&sessions, "Jo\u{308}rg M. {1}", "laptop").await;
    for new in [&composed, &decomposed] {
        let attributes = &new.session.attributes;
        let name = attributes.subject.as_ref().expect("a subject").as_str();
        let listed = list_all_pages(&sessions, name, 10).await;
        assert_eq!(
            listed.len(),
            1,
            "subjects are compared byte for byte, without Unicode normalization"
        );
        assert_eq!(
            listed[0].attributes, *attributes,
            "the list contains subject and label unchanged"
        );
        let rotated = sessions
            .rotate(&new.token)
            .await
            .expect("the session is live");
        assert_eq!(
            rotated.session.attributes, *attributes,
            "a rotation keeps subject and label unchanged"
        );
        let revoked = sessions.revoke_all(&subject(name)).await;
        assert_eq!(
            revoked.expect("the call succeeds"),
            1,
            "a revocation ends exactly the sessions of its subject"
        );
    }
}

/// With any page size, each session of the subject is on exactly one page.
pub async fn each_session_is_on_exactly_one_page_of_a_list<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let mut new = Vec::new();
    for _ in 0..7 {
        new.push(store_session_of(&sessions, "member", "telephone").await);
    }
    for limit in [1, 3, 7, 100] {
        let listed = list_all_pages(&sessions, "member", limit).await;
        let listed: Vec<_> = listed.iter().map(|session| session.id).collect();
        assert_eq!(
            listed,
            ids_of(&new),
            "with a page size of {limit}, each session is on exactly one page"
        );
    }
}

/// A session is not listed after it was deleted or after its idle timeout has passed.
pub async fn deleted_or_expired_session_is_not_listed<H: Harness>(harness: &H) {
    repeat_if_late(SECOND * 2, async |pace| {
        // A repetition must not find the sessions of an earlier attempt.
        let name = format!("member-{}", pace.seconds(1));
        let sessions = manager(harness, pace.seconds(2));
        let deleted = store_session_of(&sessions, &name, "telephone").await;
        store_session_of(&sessions, &name, "laptop").await;
        assert!(
            sessions
                .delete(&deleted.token)
                .await
                .expect("the call succeeds"),
            "the delete of a live session returns true"
        );
        assert_eq!(
            list_all_pages(&sessions, &name, 10).await.len(),
            1,
            "a deleted session is not listed"
        );
        pass(pace, harness, SECOND * 9 / 4).await;
        assert!(
            list_all_pages(&sessions, &name, 10).await.is_empty(),
            "an expired session is not listed"
        );
    })
    .await;
}

/// A session that is accessed regularly stays in the list for longer than its idle timeout.
pub async fn regularly_accessed_session_stays_listed<H: Harness>(harness: &H) {
    repeat_if_late(SECOND, async |pace| {
        // A repetition must not find the session of an earlier attempt.
        let name = format!("member-{}", pace.seconds(1));
        let sessions = manager(harness, pace.seconds(2));
        let new = store_session_of(&sessions, &name, "telephone").await;
        for _ in 0..8 {
            pass(pace, harness, SECOND).await;
            sessions.get(&new.token).await.expect("the session is live");
        }
        let listed = list_all_pages(&sessions, &name, 10).await;
        assert_eq!(
            listed.len(),
            1,
            "an accessed session stays in the list for longer than its idle timeout"
        );
        assert!(
            listed[0].last_seen > listed[0].created_at + pace.stretch(SECOND * 6),
            "an access moves `last_seen` to a later time"
        );
        assert_eq!(
            sessions.revoke_all(&subject(&name)).await.ok(),
            Some(1),
            "a revocation of all sessions counts the accessed session"
        );
        assert!(
            !is_live(&sessions, &new).await,
            "a revoked session is not live"
        );
    })
    .await;
}

/// A rotated session is listed once, under its new session id. It keeps its label and its position
/// in the list.
pub async fn rotated_session_is_listed_under_its_new_id<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let first = store_session_of(&sessions, "member", "telephone").await;
    let second = store_session_of(&sessions, "member", "laptop").await;
    let rotated = sessions
        .rotate(&first.token)
        .await
        .expect("the session is live");
    let listed = list_all_pages(&sessions, "member", 10).await;
    let listed_ids: Vec<_> = listed.iter().map(|session| session.id).collect();
    assert_eq!(
        listed_ids,
        ids_of([&rotated, &second]),
        "a rotated session is listed once, under its new id and at its old position"
    );
    assert_eq!(
        listed[0].attributes, first.session.attributes,
        "a rotation keeps subject and label in the list"
    );
}

/// A live session is found by its session id, and its idle timeout is not renewed. If the caller
/// passes a subject, only a session of this subject is found, and the result contains its label and
/// other details.
pub async fn session_is_found_by_its_id<H: Harness>(harness: &H) {
    let sessions = manager(harness, 6);
    let new = store_session_of(&sessions, "member", "telephone").await;
    let (id, member) = (SessionId::of(&new.token), subject("member"));
    let error = time::Duration::seconds(2);
    for named in [None, Some(&member)] {
        let found = sessions.find(id, named).await.expect("the call succeeds");
        let found = found.expect("the session is live");
        assert!(
            (found.expires_at - new.expires_at).abs() < error,
            "a session is found with its end, to 2 s"
        );
        assert_eq!(
            found.details.is_some(),
            named.is_some(),
            "the details of a session are returned only if its subject is named"
        );
        if let Some(details) = found.details {
            assert_eq!(
                (details.id, &details.attributes),
                (id, &new.session.attributes),
                "the details are those of the session"
            );
        }
    }
    let of_another = sessions.find(id, Some(&subject("another"))).await;
    assert_eq!(
        of_another.expect("the call succeeds"),
        None,
        "a session is not found with another subject"
    );
    harness.pass(SECOND * 3).await;
    let found = sessions.find(id, None).await;
    assert!(
        found.expect("the call succeeds").is_some(),
        "a session is found within its idle timeout"
    );
    harness.pass(SECOND * 7 / 2).await;
    for named in [None, Some(&member)] {
        let found = sessions.find(id, named).await;
        assert_eq!(
            found.expect("the call succeeds"),
            None,
            "`find` must not renew the idle timeout"
        );
    }
}
