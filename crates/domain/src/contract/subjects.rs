//! Contract tests of the sessions of a subject: list, revocation and session limit.

use std::{num::NonZeroUsize, time::Duration};

use futures_util::future::{join, join_all};

use super::{
    Harness, base_url, cookies, manager, pass, repeat_if_late, store_session, store_session_of,
};
use crate::{
    AtLimit, ListedSession, Login, NewSession, SessionAttributes, SessionError, SessionId,
    SessionManager, SessionPolicy, SessionRepository, Subject, SubjectLimit,
};

const SECOND: Duration = Duration::from_secs(1);

fn subject(name: &str) -> Subject {
    name.parse().expect("a valid subject")
}

/// Returns all sessions of the subject, read in pages of up to `limit` sessions.
async fn list_all_pages<R: SessionRepository>(
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
        let page = page.expect("the store answers");
        assert!(page.sessions.len() <= limit);
        listed.extend(page.sessions);
        after = page.next;
        if after.is_none() {
            return listed;
        }
    }
    panic!("there is no last page");
}

fn ids_of<'a>(sessions: impl IntoIterator<Item = &'a NewSession>) -> Vec<SessionId> {
    let sessions = sessions.into_iter();
    sessions.map(|new| SessionId::of(&new.token)).collect()
}

async fn is_live<R: SessionRepository>(sessions: &SessionManager<R>, new: &NewSession) -> bool {
    sessions
        .exists(&new.token)
        .await
        .expect("the store answers")
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
        panic!("there are two");
    };
    assert_eq!(
        shown,
        [
            (first_id, &first.session.attributes),
            (second_id, &second.session.attributes)
        ]
    );
    let entry = &listed[0];
    let created_at = sessions
        .get(&first.token)
        .await
        .expect("it lives")
        .session
        .created_at;
    let error = time::Duration::seconds(2);
    assert!((entry.created_at - created_at).abs() < time::Duration::milliseconds(1));
    assert!((entry.last_seen - created_at).abs() < error);
    assert!((entry.expires_at - first.expires_at).abs() < error);
    let others = list_all_pages(&sessions, "nobody", 10).await;
    assert!(others.is_empty());
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
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].attributes, *attributes);
        let rotated = sessions.rotate(&new.token).await.expect("it lives");
        assert_eq!(rotated.session.attributes, *attributes);
        let revoked = sessions.revoke_all(&subject(name)).await;
        assert_eq!(revoked.expect("the store answers"), 1);
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
        assert_eq!(listed, ids_of(&new));
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
                .expect("the store answers")
        );
        assert_eq!(list_all_pages(&sessions, &name, 10).await.len(), 1);
        pass(pace, harness, SECOND * 9 / 4).await;
        assert!(list_all_pages(&sessions, &name, 10).await.is_empty());
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
            sessions.get(&new.token).await.expect("it lives");
        }
        let listed = list_all_pages(&sessions, &name, 10).await;
        assert_eq!(listed.len(), 1);
        assert!(listed[0].last_seen > listed[0].created_at + pace.stretch(SECOND * 6));
        assert_eq!(sessions.revoke_all(&subject(&name)).await.ok(), Some(1));
        assert!(!is_live(&sessions, &new).await);
    })
    .await;
}

/// A rotated session is listed once, under its new session id. It keeps its label and its position
/// in the list.
pub async fn rotated_session_is_listed_under_its_new_id<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let first = store_session_of(&sessions, "member", "telephone").await;
    let second = store_session_of(&sessions, "member", "laptop").await;
    let rotated = sessions.rotate(&first.token).await.expect("it lives");
    let listed = list_all_pages(&sessions, "member", 10).await;
    let listed_ids: Vec<_> = listed.iter().map(|session| session.id).collect();
    assert_eq!(listed_ids, ids_of([&rotated, &second]));
    assert_eq!(listed[0].attributes, first.session.attributes);
}

/// A session is revoked by its session id. Other sessions of the subject stay live.
pub async fn session_is_revoked_by_its_id<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session_of(&sessions, "member", "telephone").await;
    let other = store_session_of(&sessions, "member", "laptop").await;
    let id = SessionId::of(&new.token);
    assert!(sessions.revoke(id).await.expect("the store answers"));
    assert!(!is_live(&sessions, &new).await && is_live(&sessions, &other).await);
    assert!(!sessions.revoke(id).await.expect("the store answers"));
    let listed = list_all_pages(&sessions, "member", 10).await;
    assert_eq!(listed.len(), 1);
}

/// A live session is found by its session id. This does not renew its idle timeout. If a subject is
/// given, only a session of this subject is found, and the result contains its details.
pub async fn session_is_found_by_its_id<H: Harness>(harness: &H) {
    let sessions = manager(harness, 6);
    let new = store_session_of(&sessions, "member", "telephone").await;
    let (id, member) = (SessionId::of(&new.token), subject("member"));
    let error = time::Duration::seconds(2);
    for named in [None, Some(&member)] {
        let found = sessions.find(id, named).await.expect("the store answers");
        let found = found.expect("it lives");
        assert!((found.expires_at - new.expires_at).abs() < error);
        assert_eq!(found.details.is_some(), named.is_some());
        if let Some(details) = found.details {
            assert_eq!(
                (details.id, &details.attributes),
                (id, &new.session.attributes)
            );
        }
    }
    let of_another = sessions.find(id, Some(&subject("another"))).await;
    assert_eq!(of_another.expect("the store answers"), None);
    harness.pass(SECOND * 3).await;
    let found = sessions.find(id, None).await;
    assert!(found.expect("the store answers").is_some());
    harness.pass(SECOND * 7 / 2).await;
    for named in [None, Some(&member)] {
        let found = sessions.find(id, named).await;
        assert_eq!(found.expect("the store answers"), None);
    }
}

/// Revoking all sessions of a subject ends each of these sessions, but no session of another
/// subject.
pub async fn all_sessions_of_a_subject_are_revoked<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let others = [
        store_session(&sessions).await,
        store_session_of(&sessions, "another", "laptop").await,
    ];
    let new = (0..150).map(|_| store_session_of(&sessions, "member", "telephone"));
    let mut new = join_all(new).await;
    new[0] = sessions.rotate(&new[0].token).await.expect("it lives");
    let revoked = sessions.revoke_all(&subject("member")).await;
    assert_eq!(revoked.ok(), Some(150));
    for new in &new {
        assert!(!is_live(&sessions, new).await);
    }
    for other in &others {
        assert!(is_live(&sessions, other).await);
    }
    assert!(list_all_pages(&sessions, "member", 100).await.is_empty());
    assert_eq!(sessions.revoke_all(&subject("member")).await.ok(), Some(0));
    let later = store_session_of(&sessions, "member", "telephone").await;
    assert!(is_live(&sessions, &later).await);
}

/// If a session is created while all sessions of its subject are revoked, there are two allowed
/// results. Either the session is revoked, or the session stays live, is listed, and is ended by
/// the next revocation.
pub async fn session_created_during_a_revocation_is_either_revoked_or_listed<H: Harness>(
    harness: &H,
) {
    let sessions = manager(harness, 60);
    for _ in 0..20 {
        let before = store_session_of(&sessions, "member", "telephone").await;
        let creations = join_all((0..8).map(|_| store_session_of(&sessions, "member", "laptop")));
        let all = subject("member");
        let (created, revoked) = join(creations, sessions.revoke_all(&all)).await;
        assert!(revoked.expect("the store answers") >= 1);
        assert!(!is_live(&sessions, &before).await);
        let mut live = Vec::new();
        for new in &created {
            if is_live(&sessions, new).await {
                live.push(SessionId::of(&new.token));
            }
        }
        let listed = list_all_pages(&sessions, "member", 100).await;
        let mut listed: Vec<_> = listed.iter().map(|session| session.id).collect();
        live.sort_by_key(|id| *id.as_bytes());
        listed.sort_by_key(|id| *id.as_bytes());
        assert_eq!(listed, live);
        let revoked = sessions.revoke_all(&all).await;
        assert_eq!(revoked.ok(), Some(live.len()));
        for new in &created {
            assert!(!is_live(&sessions, new).await);
        }
    }
}

/// If a session is rotated while all sessions of its subject are revoked, neither the old nor the
/// new token stays valid.
pub async fn session_rotated_during_a_revocation_is_revoked<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..20 {
        let new = join_all((0..8).map(|_| store_session_of(&sessions, "member", "laptop"))).await;
        let rotations = join_all(new.iter().map(|new| sessions.rotate(&new.token)));
        let all = subject("member");
        let (rotations, revoked) = join(rotations, sessions.revoke_all(&all)).await;
        revoked.expect("the store answers");
        for rotation in rotations {
            match rotation {
                Ok(rotated) => assert!(!is_live(&sessions, &rotated).await),
                Err(SessionError::NotFound) => {}
                Err(error) => panic!("the store answers: {error}"),
            }
        }
        for new in &new {
            assert!(!is_live(&sessions, new).await);
        }
        assert!(list_all_pages(&sessions, "member", 100).await.is_empty());
    }
}

fn manager_with_subject_limit<H: Harness>(
    harness: &H,
    max: usize,
    when_reached: AtLimit,
) -> SessionManager<H::Repository> {
    let limit = SubjectLimit {
        max: NonZeroUsize::new(max).expect("a limit"),
        when_reached,
    };
    let policy = SessionPolicy::new(Duration::from_secs(60), None).expect("a valid policy");
    SessionManager::new(harness.repository(), policy.with_subject_limit(Some(limit)))
}

/// With a limit of three sessions per subject, each further session evicts the oldest session of
/// the subject.
pub async fn oldest_session_is_evicted_at_the_session_limit_of_a_subject<H: Harness>(harness: &H) {
    let sessions = manager_with_subject_limit(harness, 3, AtLimit::EvictOldest);
    let mut new = Vec::new();
    for _ in 0..5 {
        new.push(store_session_of(&sessions, "member", "telephone").await);
        store_session_of(&sessions, "another", "telephone").await;
    }
    let mut live = Vec::new();
    for new in &new {
        live.push(is_live(&sessions, new).await);
    }
    assert_eq!(live, [false, false, true, true, true]);
}

/// With a limit of three sessions per subject, a fourth session is rejected until one of the three
/// has ended. Sessions without a subject are not limited.
pub async fn new_session_is_rejected_at_the_session_limit_of_a_subject<H: Harness>(harness: &H) {
    let sessions = manager_with_subject_limit(harness, 3, AtLimit::Refuse);
    let login = || Login {
        attributes: SessionAttributes::of_subject(subject("member")),
        ..Login::new(cookies([("a", "1")]), base_url())
    };
    let mut new = Vec::new();
    for _ in 0..3 {
        new.push(sessions.store_login(login()).await.expect("there is room"));
        store_session(&sessions).await;
    }
    let refused = sessions.store_login(login()).await;
    assert!(matches!(refused, Err(SessionError::TooManySessions)));
    for new in &new {
        assert!(is_live(&sessions, new).await);
    }
    assert_eq!(list_all_pages(&sessions, "member", 10).await.len(), 3);
    assert!(
        sessions
            .delete(&new[0].token)
            .await
            .expect("the store answers")
    );
    sessions.store_login(login()).await.expect("there is room");
}
