//! The sessions of a subject: listed, revoked, kept to a limit.

use std::{num::NonZeroUsize, time::Duration};

use futures_util::future::{join, join_all};

use super::{Harness, base_url, cookies, manager, of_subject, stored};
use crate::{
    ListedSession, Login, NewSession, SessionError, SessionId, SessionManager, SessionPolicy,
    SessionRepository, Subject, SubjectLimit, WhenReached,
};

const SECOND: Duration = Duration::from_secs(1);

fn subject(name: &str) -> Subject {
    name.parse().expect("a sound subject")
}

/// All pages of a subject's sessions, each of up to `limit`.
async fn listed<R: SessionRepository>(
    sessions: &SessionManager<R>,
    name: &str,
    limit: usize,
) -> Vec<ListedSession> {
    let mut listed = Vec::new();
    let mut after = None;
    // More pages than any rule has sessions.
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

fn ids<'a>(sessions: impl IntoIterator<Item = &'a NewSession>) -> Vec<SessionId> {
    let sessions = sessions.into_iter();
    sessions.map(|new| SessionId::of(&new.token)).collect()
}

async fn lives<R: SessionRepository>(sessions: &SessionManager<R>, new: &NewSession) -> bool {
    sessions
        .exists(&new.token)
        .await
        .expect("the store answers")
}

/// A list has the subject's sessions, the oldest first, and those of nobody else.
pub async fn a_subjects_sessions_are_listed_oldest_first<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    stored(&sessions).await;
    of_subject(&sessions, "another", "laptop").await;
    let first = of_subject(&sessions, "member{1}", "telephone").await;
    let second = of_subject(&sessions, "member{1}", "laptop").await;
    let listed = listed(&sessions, "member{1}", 10).await;
    let shown: Vec<_> = listed
        .iter()
        .map(|session| {
            (
                session.id,
                session.label.as_ref().map(|label| label.as_str()),
            )
        })
        .collect();
    let [first_id, second_id] = ids([&first, &second])[..] else {
        panic!("there are two");
    };
    assert_eq!(
        shown,
        [(first_id, Some("telephone")), (second_id, Some("laptop"))]
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
    let nobodys = self::listed(&sessions, "nobody", 10).await;
    assert!(nobodys.is_empty());
}

/// However small the pages, each session is on one.
pub async fn a_long_list_comes_in_pages<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let mut new = Vec::new();
    for _ in 0..7 {
        new.push(of_subject(&sessions, "member", "telephone").await);
    }
    for limit in [1, 3, 7, 100] {
        let listed = listed(&sessions, "member", limit).await;
        let listed: Vec<_> = listed.iter().map(|session| session.id).collect();
        assert_eq!(listed, ids(&new));
    }
}

/// Who logs out, or idles for too long, is in no list.
pub async fn an_ended_session_is_not_listed<H: Harness>(harness: &H) {
    let sessions = manager(harness, 2);
    let deleted = of_subject(&sessions, "member", "telephone").await;
    of_subject(&sessions, "member", "laptop").await;
    assert!(
        sessions
            .delete(&deleted.token)
            .await
            .expect("the store answers")
    );
    assert_eq!(listed(&sessions, "member", 10).await.len(), 1);
    harness.pass(SECOND * 9 / 4).await;
    assert!(listed(&sessions, "member", 10).await.is_empty());
}

/// A session in use is listed for as long as it lives.
pub async fn a_session_in_use_stays_listed<H: Harness>(harness: &H) {
    let sessions = manager(harness, 2);
    let new = of_subject(&sessions, "member", "telephone").await;
    for _ in 0..8 {
        harness.pass(SECOND).await;
        sessions.get(&new.token).await.expect("it lives");
    }
    let listed = listed(&sessions, "member", 10).await;
    assert_eq!(listed.len(), 1);
    assert!(listed[0].last_seen > listed[0].created_at + time::Duration::seconds(6));
    assert_eq!(sessions.revoke_all(&subject("member")).await.ok(), Some(1));
    assert!(!lives(&sessions, &new).await);
}

/// A rotated session is listed once, by its new id, as the one that it was.
pub async fn a_rotated_session_is_listed_by_its_new_id<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let first = of_subject(&sessions, "member", "telephone").await;
    let second = of_subject(&sessions, "member", "laptop").await;
    let rotated = sessions.rotate(&first.token).await.expect("it lives");
    let listed = listed(&sessions, "member", 10).await;
    let listed_ids: Vec<_> = listed.iter().map(|session| session.id).collect();
    assert_eq!(listed_ids, ids([&rotated, &second]));
    assert_eq!(listed[0].label, first.session.label);
}

/// A session is revoked by the id that a list shows.
pub async fn a_session_is_revoked_by_its_id<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = of_subject(&sessions, "member", "telephone").await;
    let other = of_subject(&sessions, "member", "laptop").await;
    let id = SessionId::of(&new.token);
    assert!(sessions.revoke(id).await.expect("the store answers"));
    assert!(!lives(&sessions, &new).await && lives(&sessions, &other).await);
    assert!(!sessions.revoke(id).await.expect("the store answers"));
    let listed = listed(&sessions, "member", 10).await;
    assert_eq!(listed.len(), 1);
}

/// All sessions of a subject end together, and nobody else's.
pub async fn all_sessions_of_a_subject_are_revoked<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let others = [
        stored(&sessions).await,
        of_subject(&sessions, "another", "laptop").await,
    ];
    let new = (0..150).map(|_| of_subject(&sessions, "member", "telephone"));
    let mut new = join_all(new).await;
    new[0] = sessions.rotate(&new[0].token).await.expect("it lives");
    let revoked = sessions.revoke_all(&subject("member")).await;
    assert_eq!(revoked.ok(), Some(150));
    for new in &new {
        assert!(!lives(&sessions, new).await);
    }
    for other in &others {
        assert!(lives(&sessions, other).await);
    }
    assert!(listed(&sessions, "member", 100).await.is_empty());
    assert_eq!(sessions.revoke_all(&subject("member")).await.ok(), Some(0));
    let later = of_subject(&sessions, "member", "telephone").await;
    assert!(lives(&sessions, &later).await);
}

/// One that is created at that moment is either revoked or wholly new: listed, and revoked next time.
pub async fn creations_that_race_a_revocation_are_revoked_or_new<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..20 {
        let before = of_subject(&sessions, "member", "telephone").await;
        let creations = join_all((0..8).map(|_| of_subject(&sessions, "member", "laptop")));
        let all = subject("member");
        let (created, revoked) = join(creations, sessions.revoke_all(&all)).await;
        assert!(revoked.expect("the store answers") >= 1);
        assert!(!lives(&sessions, &before).await);
        let mut live = Vec::new();
        for new in &created {
            if lives(&sessions, new).await {
                live.push(SessionId::of(&new.token));
            }
        }
        let listed = listed(&sessions, "member", 100).await;
        let mut listed: Vec<_> = listed.iter().map(|session| session.id).collect();
        live.sort_by_key(|id| *id.as_bytes());
        listed.sort_by_key(|id| *id.as_bytes());
        assert_eq!(listed, live);
        let revoked = sessions.revoke_all(&all).await;
        assert_eq!(revoked.ok(), Some(live.len()));
        for new in &created {
            assert!(!lives(&sessions, new).await);
        }
    }
}

/// A session does not escape by a new token.
pub async fn no_rotation_escapes_a_revocation<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    for _ in 0..20 {
        let new = join_all((0..8).map(|_| of_subject(&sessions, "member", "laptop"))).await;
        let rotations = join_all(new.iter().map(|new| sessions.rotate(&new.token)));
        let all = subject("member");
        let (rotations, revoked) = join(rotations, sessions.revoke_all(&all)).await;
        revoked.expect("the store answers");
        for rotation in rotations {
            match rotation {
                Ok(rotated) => assert!(!lives(&sessions, &rotated).await),
                Err(SessionError::NotFound) => {}
                Err(error) => panic!("the store answers: {error}"),
            }
        }
        for new in &new {
            assert!(!lives(&sessions, new).await);
        }
        assert!(listed(&sessions, "member", 100).await.is_empty());
    }
}

fn limited<H: Harness>(
    harness: &H,
    max: usize,
    when_reached: WhenReached,
) -> SessionManager<H::Repository> {
    let limit = SubjectLimit {
        max: NonZeroUsize::new(max).expect("a limit"),
        when_reached,
    };
    let policy = SessionPolicy::new(Duration::from_secs(60), None).expect("a sound policy");
    SessionManager::new(harness.repository(), policy.with_subject_limit(Some(limit)))
}

/// A subject that may have three has the latest three.
pub async fn a_subject_at_its_limit_loses_its_oldest_session<H: Harness>(harness: &H) {
    let sessions = limited(harness, 3, WhenReached::EvictOldest);
    let mut new = Vec::new();
    for _ in 0..5 {
        new.push(of_subject(&sessions, "member", "telephone").await);
        of_subject(&sessions, "another", "telephone").await;
    }
    let mut live = Vec::new();
    for new in &new {
        live.push(lives(&sessions, new).await);
    }
    assert_eq!(live, [false, false, true, true, true]);
}

/// Or it gets no fourth one before one of them has ended; who has no subject has no limit.
pub async fn a_subject_at_its_limit_is_refused_another_session<H: Harness>(harness: &H) {
    let sessions = limited(harness, 3, WhenReached::Refuse);
    let login = || Login {
        subject: Some(subject("member")),
        ..Login::new(cookies([("a", "1")]), base_url())
    };
    let mut new = Vec::new();
    for _ in 0..3 {
        new.push(sessions.store_login(login()).await.expect("there is room"));
        stored(&sessions).await;
    }
    let refused = sessions.store_login(login()).await;
    assert!(matches!(refused, Err(SessionError::TooManySessions)));
    for new in &new {
        assert!(lives(&sessions, new).await);
    }
    assert_eq!(listed(&sessions, "member", 10).await.len(), 3);
    assert!(
        sessions
            .delete(&new[0].token)
            .await
            .expect("the store answers")
    );
    sessions.store_login(login()).await.expect("there is room");
}
