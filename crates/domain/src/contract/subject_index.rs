//! Contract tests of the subject index itself: revocation, position and membership.

use std::time::Duration;

use super::{Harness, base_url, cookies, manager, store_session_of};
use crate::{
    IndexEntry, InsertOutcome, LastRevocation, Login, Session, SessionAttributes, SessionId,
    SessionPatch, SessionRepository, SessionToken, Subject, SubjectIndex,
};

const MINUTE: Duration = Duration::from_secs(60);

fn subject(name: &str) -> Subject {
    name.parse().expect("a valid subject")
}

/// Adds a session of the subject to the index and stores its record, as the session manager does.
/// `succeeds` is the old token if the session was rotated.
async fn add_session<R: SessionRepository>(
    repository: &R,
    subject: &Subject,
    succeeds: Option<&SessionToken>,
) -> (SessionToken, LastRevocation) {
    let token = SessionToken::generate();
    let login = Login {
        attributes: SessionAttributes::of_subject(subject.clone()),
        ..Login::new(cookies([("SESSIONID", "a1b2c3")]), base_url())
    };
    let session = Session::new(login, repository.now(), None);
    let entry = IndexEntry {
        subject: subject.clone(),
        token: token.clone(),
        session: session.clone(),
        succeeds: succeeds.cloned(),
        kept_for: MINUTE * 3,
    };
    let last = repository.subjects().add(&entry).await;
    let inserted = repository.insert(&token, &session, MINUTE).await;
    let inserted = inserted.expect("the store answers");
    assert_eq!(inserted, InsertOutcome::Inserted);
    (token, last.expect("the store answers"))
}

async fn contains<R: SessionRepository>(
    repository: &R,
    subject: &Subject,
    token: &SessionToken,
    last: LastRevocation,
) -> bool {
    let contains = repository.subjects().contains(subject, token, last).await;
    contains.expect("the store answers")
}

async fn mark_revocation<R: SessionRepository>(
    repository: &R,
    subject: &Subject,
) -> LastRevocation {
    let revocation = repository.subjects().mark_revocation(subject).await;
    revocation.expect("the store answers")
}

/// An updated and rotated session still has its subject and its label.
pub async fn session_keeps_its_subject_through_updates_and_rotations<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session_of(&sessions, "member", "telephone").await;
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&new.token, &patch, |_| true).await;
    let updated = updated.expect("it lives").session;
    assert_eq!(updated.attributes, new.session.attributes);
    let rotated = sessions.rotate(&new.token).await.expect("it lives");
    let read = sessions.get(&rotated.token).await.expect("it lives");
    assert_eq!(read.session.attributes, new.session.attributes);
}

/// `remove_older` removes exactly the sessions that were added before the revocation. A session
/// that was added after the revocation stays live.
pub async fn removing_older_sessions_keeps_newer_sessions<H: Harness>(harness: &H) {
    let (repository, subject) = (harness.repository(), subject("member"));
    let (older, _) = add_session(&repository, &subject, None).await;
    let revocation = mark_revocation(&repository, &subject).await;
    let (newer, last) = add_session(&repository, &subject, None).await;
    let mut removed = 0;
    // The number of calls is limited, so that the test fails if the removal never completes.
    for _ in 0..100 {
        let removal = repository
            .subjects()
            .remove_older(&subject, revocation)
            .await
            .expect("the store answers");
        removed += removal.sessions;
        if removal.is_complete {
            break;
        }
    }
    assert_eq!(removed, 1);
    let is_live = async |token: &SessionToken| {
        let loaded = repository.load_with_ttl(token).await;
        loaded.expect("the store answers").is_some()
    };
    assert!(!is_live(&older).await && is_live(&newer).await);
    assert!(contains(&repository, &subject, &newer, last).await);
    let page = repository.subjects().list(&subject, None, 10).await;
    let listed: Vec<_> = page.expect("the store answers").sessions;
    let listed: Vec<_> = listed.iter().map(|session| session.id).collect();
    assert_eq!(listed, [SessionId::of(&newer)]);
}

/// After a revocation, `contains` returns `false` for every session that was added before the
/// revocation, and for every rotated session that has the position of such a session in the index.
/// For a session that was added later, `contains` returns `true` only if the caller passes the
/// position of this revocation.
pub async fn index_contains_no_session_from_before_a_revocation<H: Harness>(harness: &H) {
    let (repository, subject) = (harness.repository(), subject("member"));
    let (older, before) = add_session(&repository, &subject, None).await;
    assert!(contains(&repository, &subject, &older, before).await);

    let revocation = mark_revocation(&repository, &subject).await;
    assert!(revocation > before);
    assert!(!contains(&repository, &subject, &older, before).await);
    assert!(!contains(&repository, &subject, &older, revocation).await);

    let (successor, last) = add_session(&repository, &subject, Some(&older)).await;
    assert_eq!(last, revocation);
    assert!(!contains(&repository, &subject, &successor, revocation).await);

    let (newer, last) = add_session(&repository, &subject, None).await;
    assert_eq!(last, revocation);
    assert!(contains(&repository, &subject, &newer, revocation).await);
    assert!(!contains(&repository, &subject, &newer, before).await);
    let unknown = SessionToken::generate();
    assert!(!contains(&repository, &subject, &unknown, revocation).await);
}

/// The position of a revocation is its time on the store's clock, in microseconds since the Unix
/// epoch. The repository's `now` returns the same time.
pub async fn position_of_a_revocation_is_its_time_on_the_store_clock<H: Harness>(harness: &H) {
    // The local copy of the store's clock can be wrong by the duration of a call.
    const TOLERANCE: Duration = Duration::from_secs(10);
    let (repository, subject) = (harness.repository(), subject("member"));
    add_session(&repository, &subject, None).await;
    let before = repository.now() - TOLERANCE;
    let LastRevocation(position) = mark_revocation(&repository, &subject).await;
    let after = repository.now() + TOLERANCE;
    let micros = |time: time::OffsetDateTime| time.unix_timestamp_nanos() / 1_000;
    let position = i128::from(position);
    assert!(
        (micros(before)..=micros(after)).contains(&position),
        "{position} is not between {before} and {after}"
    );
}
