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
/// If the session is the result of a rotation, `succeeds` is its old token.
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
    let inserted = inserted.expect("the call succeeds");
    assert_eq!(
        inserted,
        InsertOutcome::Inserted,
        "the first insert under a token stores the session"
    );
    (token, last.expect("the call succeeds"))
}

async fn contains<R: SessionRepository>(
    repository: &R,
    subject: &Subject,
    token: &SessionToken,
    last: LastRevocation,
) -> bool {
    let contains = repository.subjects().contains(subject, token, last).await;
    contains.expect("the call succeeds")
}

async fn mark_revocation<R: SessionRepository>(
    repository: &R,
    subject: &Subject,
) -> LastRevocation {
    let revocation = repository.subjects().mark_revocation(subject).await;
    revocation.expect("the call succeeds")
}

/// An updated and rotated session still has its subject and its label.
pub async fn session_keeps_its_subject_through_updates_and_rotations<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session_of(&sessions, "member", "telephone").await;
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&new.token, &patch, |_| true).await;
    let updated = updated.expect("the session is live").session;
    assert_eq!(
        updated.attributes, new.session.attributes,
        "an update keeps subject and label"
    );
    let rotated = sessions
        .rotate(&new.token)
        .await
        .expect("the session is live");
    let read = sessions
        .get(&rotated.token)
        .await
        .expect("the session is live");
    assert_eq!(
        read.session.attributes, new.session.attributes,
        "a rotation keeps subject and label"
    );
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
            .expect("the call succeeds");
        removed += removal.sessions;
        if removal.is_complete {
            break;
        }
    }
    assert_eq!(
        removed, 1,
        "`remove_older` removes exactly the session from before the revocation"
    );
    let is_live = async |token: &SessionToken| {
        let loaded = repository.load_with_ttl(token).await;
        loaded.expect("the call succeeds").is_some()
    };
    assert!(
        !is_live(&older).await && is_live(&newer).await,
        "`remove_older` ends sessions from before the revocation, and no later ones"
    );
    assert!(
        contains(&repository, &subject, &newer, last).await,
        "the index contains a session that was added after the revocation"
    );
    let page = repository.subjects().list(&subject, None, 10).await;
    let listed: Vec<_> = page.expect("the call succeeds").sessions;
    let listed: Vec<_> = listed.iter().map(|session| session.id).collect();
    assert_eq!(
        listed,
        [SessionId::of(&newer)],
        "the list contains only the session that was added after the revocation"
    );
}

/// `contains` returns `false` for a session that was added before the last revocation of the
/// subject. It also returns `false` if such a session was rotated later, because a rotated session
/// keeps its position in the index. For a session that was added after the revocation, `contains`
/// returns `true`, but only if the caller passes this revocation and not an earlier one.
pub async fn index_contains_no_session_from_before_a_revocation<H: Harness>(harness: &H) {
    let (repository, subject) = (harness.repository(), subject("member"));
    let (older, before) = add_session(&repository, &subject, None).await;
    assert!(
        contains(&repository, &subject, &older, before).await,
        "the index contains an added session"
    );

    let revocation = mark_revocation(&repository, &subject).await;
    assert!(
        revocation > before,
        "a revocation has a later position than every earlier revocation"
    );
    assert!(
        !contains(&repository, &subject, &older, before).await,
        "a revocation removes older sessions from the index"
    );
    assert!(
        !contains(&repository, &subject, &older, revocation).await,
        "the index contains no session from before the last revocation"
    );

    let (successor, last) = add_session(&repository, &subject, Some(&older)).await;
    assert_eq!(
        last, revocation,
        "`add` returns the position of the last revocation"
    );
    assert!(
        !contains(&repository, &subject, &successor, revocation).await,
        "a rotated session keeps the position of its predecessor, before the revocation"
    );

    let (newer, last) = add_session(&repository, &subject, None).await;
    assert_eq!(
        last, revocation,
        "`add` returns the position of the last revocation"
    );
    assert!(
        contains(&repository, &subject, &newer, revocation).await,
        "the index contains a session that was added after the revocation"
    );
    assert!(
        !contains(&repository, &subject, &newer, before).await,
        "`contains` returns false if the caller passes an outdated revocation"
    );
    let unknown = SessionToken::generate();
    assert!(
        !contains(&repository, &subject, &unknown, revocation).await,
        "`contains` returns false for an unknown token"
    );
}

/// The position of a revocation is the time of the revocation on the store's clock, in microseconds
/// since the Unix epoch. The repository's `now` agrees with this clock.
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
