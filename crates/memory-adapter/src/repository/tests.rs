use tee_session_domain::{
    BaseUrl, Cookies, Login, SessionError, SessionManager, SessionPatch, SessionPolicy, Subject,
    UpdateError,
};

use super::*;

const TTL: Duration = Duration::from_secs(60);

fn session(repository: &MemoryRepository) -> Session {
    Session {
        cookies: Cookies::new([("a".to_owned(), "1".to_owned())]).unwrap(),
        base_url: BaseUrl::new("https://golf.example").unwrap(),
        created_at: repository.now(),
        absolute_end: None,
        subject: None,
        label: None,
    }
}

async fn inserted(repository: &MemoryRepository) -> Result<SessionToken, RepositoryError> {
    let token = SessionToken::generate();
    let outcome = repository.insert(&token, &session(repository), TTL).await?;
    assert_eq!(outcome, InsertOutcome::Inserted);
    Ok(token)
}

fn pass(repository: &MemoryRepository, duration: Duration) {
    repository.clock().set(repository.now() + duration);
}

fn entries(repository: &MemoryRepository) -> (usize, usize) {
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

#[tokio::test]
async fn a_full_store_refuses_and_keeps_every_live_session() {
    let repository = MemoryRepository::with_capacity(10);
    let mut tokens = Vec::new();
    for _ in 0..10 {
        tokens.push(inserted(&repository).await.unwrap());
    }
    let error = inserted(&repository).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Full { .. }), "{error:?}");
    for token in &tokens {
        assert!(
            repository
                .fetch_and_slide(token, TTL)
                .await
                .unwrap()
                .is_some()
        );
    }
}

#[tokio::test]
async fn a_full_store_takes_sessions_again_when_one_was_removed() {
    let repository = MemoryRepository::with_capacity(1);
    let token = inserted(&repository).await.unwrap();
    inserted(&repository).await.unwrap_err();
    assert!(repository.remove(&token).await.unwrap());
    inserted(&repository).await.unwrap();
}

#[tokio::test]
async fn a_full_store_takes_sessions_again_when_some_have_ended() {
    let repository = MemoryRepository::with_capacity(100);
    for _ in 0..100 {
        inserted(&repository).await.unwrap();
    }
    pass(&repository, TTL);
    for _ in 0..100 {
        inserted(&repository).await.unwrap();
    }
    assert_eq!(repository.held_sessions(), 100);
}

#[tokio::test]
async fn a_taken_token_takes_no_place() {
    let repository = MemoryRepository::with_capacity(2);
    let token = inserted(&repository).await.unwrap();
    for _ in 0..5 {
        let again = repository
            .insert(&token, &session(&repository), TTL)
            .await
            .unwrap();
        assert_eq!(again, InsertOutcome::TokenTaken);
    }
    assert_eq!(repository.held_sessions(), 1);
}

#[tokio::test]
async fn ended_sessions_leave_memory_although_nobody_asks_for_them() {
    let repository = MemoryRepository::with_capacity(1_000);
    for _ in 0..1_000 {
        inserted(&repository).await.unwrap();
    }
    assert_eq!(entries(&repository), (1_000, 1_000));
    pass(&repository, TTL);
    repository.ping().await.unwrap();
    assert_eq!(entries(&repository), (0, 0));
    assert_eq!(repository.held_sessions(), 0);
}

#[tokio::test]
async fn slides_and_removals_leave_one_queue_entry_for_each_session() {
    let repository = MemoryRepository::with_capacity(100);
    let mut tokens = Vec::new();
    for _ in 0..100 {
        tokens.push(inserted(&repository).await.unwrap());
    }
    for _ in 0..5 {
        pass(&repository, TTL / 2);
        for token in &tokens {
            repository
                .fetch_and_slide(token, TTL)
                .await
                .unwrap()
                .unwrap();
        }
        repository.ping().await.unwrap();
        assert_eq!(entries(&repository), (100, 100));
    }
    for token in &tokens[..50] {
        assert!(repository.remove(token).await.unwrap());
    }
    assert_eq!(entries(&repository), (50, 50));
    pass(&repository, TTL);
    assert!(
        !repository.remove(&tokens[99]).await.unwrap(),
        "it had ended"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_bound_holds_when_many_threads_insert_and_remove() {
    let repository = MemoryRepository::with_capacity(500);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let repository = repository.clone();
            tokio::spawn(async move {
                let mut kept = Vec::new();
                for round in 0..500 {
                    if let Ok(token) = inserted(&repository).await {
                        kept.push(token);
                    }
                    assert!(repository.held_sessions() <= 500);
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
    assert_eq!(repository.held_sessions(), kept);
    assert_eq!(entries(&repository), (kept, kept));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_lose_no_update() {
    let repository = MemoryRepository::default();
    let sessions = Arc::new(SessionManager::new(repository, SessionPolicy::default()));
    let token = sessions.store_login(login("member")).await.unwrap().token;
    let tasks: Vec<_> = (0..8)
        .map(|writer| {
            let (sessions, token) = (Arc::clone(&sessions), token.clone());
            tokio::spawn(async move {
                for round in 0..200 {
                    let patch = SessionPatch::default()
                        .set_cookie(format!("writer-{writer}"), round.to_string());
                    // Threads that do nothing else are too fast for each other at times.
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
    let is_last = |(_, value): &(&str, &str)| *value == "199";
    assert_eq!(read.cookies.iter().filter(is_last).count(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_session_escapes_when_many_threads_create_rotate_and_revoke() {
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
                    let new = sessions.store_login(login("member")).await.unwrap();
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
    // Each that lives is in the index, and nothing else is.
    assert_eq!(sessions.revoke_all(&subject).await.unwrap(), live);
    assert_eq!(repository.held_sessions(), 0);
    assert_eq!(lock(&repository.0.subjects).subjects(), 0);
}

#[tokio::test]
async fn the_index_of_subjects_forgets_what_has_ended() {
    let repository = MemoryRepository::default();
    let sessions = SessionManager::new(repository.clone(), SessionPolicy::default());
    for number in 0..100 {
        let login = login(&format!("member-{number}"));
        sessions.store_login(login).await.unwrap();
    }
    assert_eq!(lock(&repository.0.subjects).subjects(), 100);
    pass(&repository, SessionPolicy::DEFAULT_IDLE_TIMEOUT);
    repository.ping().await.unwrap();
    assert_eq!(lock(&repository.0.subjects).subjects(), 0);
}

fn login(subject: &str) -> Login {
    let cookies = Cookies::new([("a".to_owned(), "1".to_owned())]).unwrap();
    Login {
        subject: Some(subject.parse().unwrap()),
        ..Login::new(cookies, BaseUrl::new("https://golf.example").unwrap())
    }
}

/// Its record under the new token is in no count until the old one has gone.
#[tokio::test]
async fn a_rotation_that_a_revocation_meets_halfway_leaves_the_count_right() {
    let repository = MemoryRepository::with_capacity(10);
    let token = inserted(&repository).await.unwrap();
    let seen = repository.fetch_revision(&token).await.unwrap().unwrap();
    let successor = SessionToken::generate();
    let (old, new) = (SessionId::of(&token), SessionId::of(&successor));
    let (now, store) = (repository.now(), &repository.0);
    assert_eq!(
        store.insert_uncounted(new, &seen.session, now, now + TTL),
        InsertOutcome::Inserted
    );
    // Another thread revokes both.
    assert!(store.remove(old) && store.remove(new));
    let seen = number(&seen.revision);
    assert_eq!(store.give_place(old, seen, new, now), RelocateOutcome::Gone);
    assert_eq!(repository.held_sessions(), 0);
    inserted(&repository).await.unwrap();
    assert_eq!(repository.held_sessions(), 1);
}
