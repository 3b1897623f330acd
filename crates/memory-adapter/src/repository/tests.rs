use rstest::rstest;
use tee_session_domain::{
    BaseUrl, BeginOutcome, CookieAttributes, Cookies, Fingerprint, IdempotencyKey,
    IdempotencyRecord, IdempotencyState, IdempotencyStore, IndexEntry, Login, OtherCookie,
    SessionAttributes, SessionError, SessionManager, SessionPatch, SessionPolicy, Subject,
    SubjectIndex, UpdateError,
};

use super::*;

const TTL: Duration = Duration::from_secs(60);

fn create_session(repository: &MemoryRepository) -> Session {
    Session {
        cookies: Cookies::new([("a".to_owned(), "1".to_owned())]).unwrap(),
        base_url: BaseUrl::new("https://golf.example").unwrap(),
        created_at: repository.now(),
        absolute_end: None,
        attributes: SessionAttributes::default(),
    }
}

async fn insert_session(repository: &MemoryRepository) -> Result<SessionToken, RepositoryError> {
    let token = SessionToken::generate();
    let outcome = repository
        .insert(&token, &create_session(repository), TTL)
        .await?;
    assert_eq!(outcome, InsertOutcome::Inserted);
    Ok(token)
}

fn advance_clock(repository: &MemoryRepository, duration: Duration) {
    let clock = repository.clock();
    clock.set(clock.now() + duration);
}

fn count_entries(repository: &MemoryRepository) -> (usize, usize) {
    repository
        .0
        .shards
        .iter()
        .map(|shard| lock(shard).sizes())
        .fold(
            (0, 0),
            |(sessions, queued), (more_sessions, more_queued)| {
                (sessions + more_sessions, queued + more_queued)
            },
        )
}

/// Corrects the wall clock while a session is live. The times that the repository shows follow the
/// correction. The time at which the session ends does not change.
#[rstest]
#[case::forward(time::Duration::hours(2))]
#[case::back(time::Duration::days(-1))]
#[tokio::test]
async fn corrected_wall_clock_changes_the_shown_times_but_ends_no_session(
    #[case] step: time::Duration,
) {
    let repository = MemoryRepository::default();
    let subject: Subject = "member-4711".parse().unwrap();
    let mut session = create_session(&repository);
    session.absolute_end = Some(session.created_at + 10 * TTL);
    session.attributes.subject = Some(subject.clone());
    session.cookies = cookies_until(session.created_at + TTL);
    let token = SessionToken::generate();
    let inserted = repository.insert(&token, &session, TTL).await.unwrap();
    assert_eq!(inserted, InsertOutcome::Inserted);
    let entry = IndexEntry {
        subject: subject.clone(),
        token: token.clone(),
        session: session.clone(),
        succeeds: None,
        kept_for: TTL,
    };
    repository.subjects().add(&entry).await.unwrap();
    let before = repository.now();

    repository.0.wall_clock.step(step);
    let moved = repository.now() - before;
    assert!(
        (moved - step).abs() < time::Duration::seconds(30),
        "{moved}"
    );
    let expected = Session {
        created_at: session.created_at + step,
        absolute_end: session.absolute_end.map(|end| end + step),
        cookies: cookies_until(session.created_at + step + TTL),
        ..session
    };
    let found = repository.load_with_ttl(&token).await.unwrap().unwrap();
    assert_eq!(found.session, expected);
    assert!(found.remaining.unwrap() > TTL / 2);
    let listed = repository
        .subjects()
        .list(&subject, None, 10)
        .await
        .unwrap();
    assert_eq!(listed.sessions[0].created_at, expected.created_at);
    assert_eq!(listed.sessions[0].absolute_end, expected.absolute_end);

    // An update gets the shown times, and writes them back to the store.
    let loaded = repository
        .load_for_update(&token, None)
        .await
        .unwrap()
        .unwrap();
    let swapped = repository.compare_and_swap(&token, &loaded.revision, &loaded.session, TTL);
    assert_eq!(swapped.await.unwrap(), SwapOutcome::Swapped);
    let found = repository.load_and_touch(&token, TTL).await.unwrap();
    assert_eq!(found.unwrap(), expected);
    advance_clock(&repository, TTL);
    assert!(
        repository
            .load_and_touch(&token, TTL)
            .await
            .unwrap()
            .is_none()
    );
}

/// Returns two cookies with the same name that expire at the time `end`.
fn cookies_until(end: OffsetDateTime) -> Cookies {
    let attributes = |path: &str| CookieAttributes {
        domain: "golf.example".to_owned(),
        host_only: true,
        path: path.to_owned(),
        secure: true,
        expires: Some(end),
    };
    let other = OtherCookie {
        name: "SESSIONID".to_owned(),
        value: "b2c3d4".to_owned().into(),
        attributes: attributes("/admin"),
        position: 1,
    };
    let flat = Cookies::from_pairs([("SESSIONID", "a1b2c3")]).unwrap();
    flat.with_details(vec![Some(attributes("/"))], vec![other])
}

#[tokio::test]
async fn full_store_rejects_new_sessions_and_keeps_live_sessions() {
    let repository = MemoryRepository::with_capacity(10);
    let mut tokens = Vec::new();
    for _ in 0..10 {
        tokens.push(insert_session(&repository).await.unwrap());
    }
    let error = insert_session(&repository).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Full { .. }), "{error:?}");
    for token in &tokens {
        assert!(
            repository
                .load_and_touch(token, TTL)
                .await
                .unwrap()
                .is_some()
        );
    }
}

#[tokio::test]
async fn full_store_accepts_a_new_session_after_another_is_removed() {
    let repository = MemoryRepository::with_capacity(1);
    let token = insert_session(&repository).await.unwrap();
    insert_session(&repository).await.unwrap_err();
    assert!(repository.remove(&token).await.unwrap());
    insert_session(&repository).await.unwrap();
}

#[tokio::test]
async fn full_store_accepts_new_sessions_after_old_sessions_have_expired() {
    let repository = MemoryRepository::with_capacity(100);
    for _ in 0..100 {
        insert_session(&repository).await.unwrap();
    }
    advance_clock(&repository, TTL);
    for _ in 0..100 {
        insert_session(&repository).await.unwrap();
    }
    assert_eq!(repository.session_count(), 100);
}

#[tokio::test]
async fn inserting_a_session_with_a_token_already_in_use_takes_no_capacity() {
    let repository = MemoryRepository::with_capacity(2);
    let token = insert_session(&repository).await.unwrap();
    for _ in 0..5 {
        let again = repository
            .insert(&token, &create_session(&repository), TTL)
            .await
            .unwrap();
        assert_eq!(again, InsertOutcome::TokenTaken);
    }
    assert_eq!(repository.session_count(), 1);
}

#[tokio::test]
async fn store_ping_removes_expired_sessions_that_are_not_accessed() {
    let repository = MemoryRepository::with_capacity(1_000);
    for _ in 0..1_000 {
        insert_session(&repository).await.unwrap();
    }
    assert_eq!(count_entries(&repository), (1_000, 1_000));
    advance_clock(&repository, TTL);
    repository.ping().await.unwrap();
    assert_eq!(count_entries(&repository), (0, 0));
    assert_eq!(repository.session_count(), 0);
}

#[tokio::test]
async fn each_session_has_exactly_one_entry_in_the_expiry_queue_after_ttl_renewals_and_removals() {
    let repository = MemoryRepository::with_capacity(100);
    let mut tokens = Vec::new();
    for _ in 0..100 {
        tokens.push(insert_session(&repository).await.unwrap());
    }
    for _ in 0..5 {
        advance_clock(&repository, TTL / 2);
        for token in &tokens {
            repository
                .load_and_touch(token, TTL)
                .await
                .unwrap()
                .unwrap();
        }
        repository.ping().await.unwrap();
        assert_eq!(count_entries(&repository), (100, 100));
    }
    for token in &tokens[..50] {
        assert!(repository.remove(token).await.unwrap());
    }
    assert_eq!(count_entries(&repository), (50, 50));
    advance_clock(&repository, TTL);
    assert!(
        !repository.remove(&tokens[99]).await.unwrap(),
        "it had ended"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn capacity_is_not_exceeded_by_concurrent_inserts_and_removals() {
    let repository = MemoryRepository::with_capacity(500);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let repository = repository.clone();
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for round in 0..500 {
                    if let Ok(token) = insert_session(&repository).await {
                        kept.push(token);
                    }
                    assert!(repository.session_count() <= 500);
                    if round % 3 == 0
                        && let Some(token) = kept.pop()
                    {
                        assert!(repository.remove(&token).await.unwrap());
                    }
                }
                kept.len()
            })
        })
        .collect();
    let mut kept = 0;
    for task in tasks {
        kept += task.await.unwrap();
    }
    assert_eq!(repository.session_count(), kept);
    assert_eq!(count_entries(&repository), (kept, kept));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_updates_from_several_threads_are_not_lost() {
    let repository = MemoryRepository::default();
    let sessions = Arc::new(SessionManager::new(repository, SessionPolicy::default()));
    let token = sessions
        .store_login(create_login("member"))
        .await
        .unwrap()
        .token;
    let tasks: Vec<_> = (0..8)
        .map(|writer| {
            let (sessions, token) = (Arc::clone(&sessions), token.clone());
            tokio::spawn(async move {
                for round in 0..200 {
                    let patch = SessionPatch::default()
                        .set_cookie(format!("writer-{writer}"), round.to_string());
                    // In this loop, threads change one session without a pause, so `update` can
                    // reach its maximum number of attempts.
                    while let Err(error) = sessions.update(&token, &patch, |_| true).await {
                        assert!(matches!(
                            error,
                            UpdateError::Session(SessionError::Contended)
                        ));
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let read = sessions.get(&token).await.unwrap().session;
    assert_eq!(read.cookies.len(), 9);
    let is_last = |(_, value): &(&str, Option<&str>)| *value == Some("199");
    assert_eq!(read.cookies.iter().filter(is_last).count(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revoking_all_sessions_of_a_subject_after_concurrent_rotations_misses_no_session() {
    let repository = MemoryRepository::default();
    let sessions = Arc::new(SessionManager::new(
        repository.clone(),
        SessionPolicy::default(),
    ));
    let subject: Subject = "member".parse().unwrap();
    let creating: Vec<_> = (0..6)
        .map(|_| {
            let sessions = Arc::clone(&sessions);
            tokio::spawn(async move {
                let mut tokens = Vec::new();
                for _ in 0..200 {
                    let new = sessions.store_login(create_login("member")).await.unwrap();
                    match sessions.rotate(&new.token).await {
                        Ok(rotated) => tokens.push(rotated.token),
                        Err(SessionError::NotFound) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                tokens
            })
        })
        .collect();
    for _ in 0..50 {
        sessions.revoke_all(&subject).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut live = 0;
    for task in creating {
        for token in task.await.unwrap() {
            live += usize::from(sessions.exists(&token).await.unwrap());
        }
    }
    // The index contains exactly the live sessions, so revoking all of them returns their number.
    assert_eq!(sessions.revoke_all(&subject).await.unwrap(), live);
    assert_eq!(repository.session_count(), 0);
    assert_eq!(lock(&repository.0.subjects).subjects(), 0);
}

#[tokio::test]
async fn expired_sessions_are_removed_from_the_subject_index() {
    let repository = MemoryRepository::default();
    let sessions = SessionManager::new(repository.clone(), SessionPolicy::default());
    for number in 0..100 {
        let login = create_login(&format!("member-{number}"));
        sessions.store_login(login).await.unwrap();
    }
    assert_eq!(lock(&repository.0.subjects).subjects(), 100);
    advance_clock(&repository, SessionPolicy::DEFAULT_IDLE_TIMEOUT);
    repository.ping().await.unwrap();
    assert_eq!(lock(&repository.0.subjects).subjects(), 0);
}

fn create_login(subject: &str) -> Login {
    let cookies = Cookies::new([("a".to_owned(), "1".to_owned())]).unwrap();
    Login {
        attributes: SessionAttributes::of_subject(subject.parse().unwrap()),
        ..Login::new(cookies, BaseUrl::new("https://golf.example").unwrap())
    }
}

/// A revocation removes the old and the new record of a session during a token rotation. Until the
/// rotation has removed the old record, the new record does not count against the capacity.
#[tokio::test]
async fn revocation_during_a_rotation_keeps_the_session_count_correct() {
    let repository = MemoryRepository::with_capacity(10);
    let token = insert_session(&repository).await.unwrap();
    let seen = repository
        .load_for_update(&token, None)
        .await
        .unwrap()
        .unwrap();
    let successor = SessionToken::generate();
    let (old, new) = (SessionId::of(&token), SessionId::of(&successor));
    let (now, store) = (repository.now(), &repository.0);
    assert_eq!(
        store.insert_uncounted(new, &seen.session, now, now + TTL),
        InsertOutcome::Inserted
    );
    // This simulates another thread that revokes both sessions during the rotation.
    assert!(store.remove(old) && store.remove(new));
    let seen = parse_revision(&seen.revision);
    assert_eq!(store.complete_move(old, seen, new, now), MoveOutcome::Gone);
    assert_eq!(repository.session_count(), 0);
    insert_session(&repository).await.unwrap();
    assert_eq!(repository.session_count(), 1);
}

fn idempotency_key(number: usize) -> IdempotencyKey {
    IdempotencyKey::derive("test", b"credential", &number.to_be_bytes())
}

async fn begin_operation(
    repository: &MemoryRepository,
    number: usize,
) -> Result<Revision, RepositoryError> {
    let record = running_record(repository);
    match repository
        .begin(&idempotency_key(number), &record, TTL)
        .await?
    {
        BeginOutcome::Begun(revision) => Ok(revision),
        BeginOutcome::Exists(_) => panic!("the key is new"),
    }
}

fn running_record(repository: &MemoryRepository) -> IdempotencyRecord {
    IdempotencyRecord {
        fingerprint: Fingerprint([0; 16]),
        token: SessionToken::generate(),
        state: IdempotencyState::Running {
            until: repository.now(),
        },
    }
}

fn count_records(repository: &MemoryRepository) -> (usize, usize) {
    lock(&repository.0.idempotency).sizes()
}

#[tokio::test]
async fn full_store_rejects_further_idempotency_records_until_one_is_removed_or_expires() {
    let repository = MemoryRepository::with_capacity(2);
    let first = begin_operation(&repository, 1).await.unwrap();
    let second = begin_operation(&repository, 2).await.unwrap();
    let error = begin_operation(&repository, 3).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Full { .. }), "{error:?}");
    // A record that is replaced many times counts once.
    let (key, mut seen) = (idempotency_key(2), second);
    for _ in 0..10 {
        let record = running_record(&repository);
        let replaced = repository.replace(&key, &seen, &record, TTL).await;
        seen = replaced.unwrap().unwrap();
    }
    assert!(
        repository
            .forget(&idempotency_key(1), &first)
            .await
            .unwrap()
    );
    begin_operation(&repository, 3).await.unwrap();
    begin_operation(&repository, 4).await.unwrap_err();
    advance_clock(&repository, TTL);
    begin_operation(&repository, 4).await.unwrap();
    assert_eq!(count_records(&repository), (1, 1));
}

#[tokio::test]
async fn store_ping_removes_expired_idempotency_records() {
    let repository = MemoryRepository::with_capacity(100);
    for number in 0..100 {
        begin_operation(&repository, number).await.unwrap();
    }
    assert_eq!(count_records(&repository), (100, 100));
    advance_clock(&repository, TTL);
    repository.ping().await.unwrap();
    assert_eq!(count_records(&repository), (0, 0));
}
