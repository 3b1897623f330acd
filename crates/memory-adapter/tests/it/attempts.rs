//! Tests how often the session manager repeats an operation that the store rejects, for example
//! because the session was changed at the same time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rstest::rstest;
use tee_session_domain::{
    BaseUrl, Cookies, IdempotencyKey, IdempotentRequest, InsertOutcome, Login, MoveOutcome,
    RepositoryError, Revision, Session, SessionError, SessionManager, SessionPatch, SessionPolicy,
    SessionRepository, SessionToken, SwapOutcome, UpdateError,
};
use tee_session_memory_adapter::MemoryRepository;

/// Repository that carries out no insert, swap or move, and returns fixed outcomes instead. Counts
/// these calls. A token that it reports as taken really has a session afterwards.
#[derive(Clone)]
struct Unwilling {
    inner: MemoryRepository,
    insert: InsertOutcome,
    swap: SwapOutcome,
    moved: MoveOutcome,
    calls: Arc<AtomicUsize>,
}

impl Unwilling {
    fn new() -> Self {
        Self {
            inner: MemoryRepository::default(),
            insert: InsertOutcome::TokenTaken,
            swap: SwapOutcome::Changed,
            moved: MoveOutcome::Changed,
            calls: Arc::default(),
        }
    }

    /// Creates a session in the inner repository, because this repository carries out no insert.
    async fn create_session(&self) -> SessionToken {
        let sessions = SessionManager::new(self.inner.clone(), SessionPolicy::default());
        let new = sessions.store(cookies(), base_url()).await;
        new.unwrap().token
    }

    fn manager(&self) -> SessionManager<Self> {
        SessionManager::new(self.clone(), SessionPolicy::default())
    }

    fn count(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl tee_session_domain::RepositoryLayer for Unwilling {
    type Inner = MemoryRepository;

    fn inner(&self) -> &MemoryRepository {
        &self.inner
    }

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.insert == InsertOutcome::TokenTaken {
            let _ = self.inner.insert(token, session, ttl).await?;
        }
        Ok(self.insert)
    }

    async fn compare_and_swap(
        &self,
        _token: &SessionToken,
        _seen: &Revision,
        _session: &Session,
        _ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(self.swap)
    }

    async fn move_to_new_token(
        &self,
        _from: &SessionToken,
        _seen: &Revision,
        _to: &SessionToken,
        _session: &Session,
        _ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(self.moved)
    }
}

fn cookies() -> Cookies {
    Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).unwrap()
}

fn base_url() -> BaseUrl {
    BaseUrl::new("https://golf.example").unwrap()
}

fn is_unavailable<T>(result: &Result<T, SessionError>) -> bool {
    matches!(
        result,
        Err(SessionError::Repository(
            RepositoryError::Unavailable { .. }
        ))
    )
}

#[rstest]
#[case::every_token_is_taken(InsertOutcome::TokenTaken, 3)]
#[case::every_partition_is_unavailable(InsertOutcome::PartitionUnavailable, 16)]
#[tokio::test]
async fn creation_fails_as_unavailable_after_3_taken_tokens_or_16_unavailable_partitions(
    #[case] outcome: InsertOutcome,
    #[case] attempts: usize,
) {
    let repository = Unwilling {
        insert: outcome,
        ..Unwilling::new()
    };
    let new = repository.manager().store(cookies(), base_url()).await;
    assert!(is_unavailable(&new));
    assert_eq!(repository.count(), attempts);
}

#[rstest]
#[case::every_token_is_taken(InsertOutcome::TokenTaken, 3)]
#[case::every_partition_is_unavailable(InsertOutcome::PartitionUnavailable, 16)]
#[tokio::test]
async fn repeatable_creation_fails_after_3_taken_tokens_or_16_unavailable_partitions(
    #[case] outcome: InsertOutcome,
    #[case] attempts: usize,
) {
    let repository = Unwilling {
        insert: outcome,
        ..Unwilling::new()
    };
    let sessions = repository.manager();
    let key = IdempotencyKey::derive("create", b"client:secret", b"key-of-a-login-01");
    let request = IdempotentRequest {
        fingerprint: key.fingerprint(b"{}"),
        key,
        lease: Duration::ZERO,
    };
    let create = || sessions.store_login_once(&request, Login::new(cookies(), base_url()), || true);
    assert!(is_unavailable(&create().await));
    assert_eq!(repository.count(), attempts);
    // A repeated request never takes the session of a token that was already in use for its own.
    assert!(is_unavailable(&create().await));
}

#[rstest]
#[case::every_token_is_taken(MoveOutcome::TokenTaken)]
#[case::every_partition_is_unavailable(MoveOutcome::PartitionUnavailable)]
#[tokio::test]
async fn rotation_fails_as_unavailable_after_16_unusable_new_tokens(#[case] outcome: MoveOutcome) {
    let repository = Unwilling {
        moved: outcome,
        ..Unwilling::new()
    };
    let token = repository.create_session().await;
    let rotated = repository.manager().rotate(&token).await;
    assert!(is_unavailable(&rotated));
    assert_eq!(repository.count(), 16);
}

#[tokio::test]
async fn rotation_of_a_session_that_keeps_changing_fails_as_contended_after_100_attempts() {
    let repository = Unwilling::new();
    let token = repository.create_session().await;
    let rotated = repository.manager().rotate(&token).await;
    assert!(matches!(rotated, Err(SessionError::Contended)));
    assert_eq!(repository.count(), 100);
}

#[tokio::test]
async fn update_of_a_session_that_keeps_changing_fails_as_contended_after_100_attempts() {
    let repository = Unwilling::new();
    let token = repository.create_session().await;
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = repository.manager().update(&token, &patch, |_| true).await;
    assert!(matches!(
        updated,
        Err(UpdateError::Session(SessionError::Contended))
    ));
    assert_eq!(repository.count(), 100);
}
