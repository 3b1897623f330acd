//! Tests of subject index entries. An access or an update renews the entry of the session only when
//! the renewal is due. The entry of an ended session is removed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tee_session_domain::{
    BaseUrl, Cookies, FoundRecord, IndexCursor, IndexEntry, IndexPage, LastRevocation, Login,
    NewSession, Removal, RepositoryError, SessionAttributes, SessionId, SessionManager,
    SessionPatch, SessionPolicy, SessionToken, Subject, SubjectIndex,
};
use tee_session_memory_adapter::MemoryRepository;

use crate::with_index::WithIndex;

const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Subject index in memory that records the renewals and removals of entries.
#[derive(Clone)]
struct RecordedIndex {
    inner: MemoryRepository,
    renewed: Arc<Mutex<Vec<IndexEntry>>>,
    removed: Arc<Mutex<Vec<SessionToken>>>,
}

impl SubjectIndex for RecordedIndex {
    async fn add(&self, entry: &IndexEntry) -> Result<LastRevocation, RepositoryError> {
        self.inner.add(entry).await
    }

    async fn contains(
        &self,
        subject: &Subject,
        token: &SessionToken,
        last: LastRevocation,
    ) -> Result<bool, RepositoryError> {
        self.inner.contains(subject, token, last).await
    }

    fn renew(&self, entry: IndexEntry, renewed: Box<dyn FnOnce() + Send>) {
        self.renewed.lock().unwrap().push(entry);
        renewed();
    }

    fn remove_entry(&self, subject: &Subject, token: &SessionToken) {
        self.removed.lock().unwrap().push(token.clone());
        self.inner.remove_entry(subject, token);
    }

    async fn list(
        &self,
        subject: &Subject,
        after: Option<IndexCursor>,
        limit: usize,
    ) -> Result<IndexPage, RepositoryError> {
        self.inner.list(subject, after, limit).await
    }

    async fn mark_revocation(&self, subject: &Subject) -> Result<LastRevocation, RepositoryError> {
        self.inner.mark_revocation(subject).await
    }

    async fn remove_older(
        &self,
        subject: &Subject,
        revocation: LastRevocation,
    ) -> Result<Removal, RepositoryError> {
        self.inner.remove_older(subject, revocation).await
    }

    async fn remove_by_id(&self, id: SessionId) -> Result<bool, RepositoryError> {
        self.inner.remove_by_id(id).await
    }

    async fn find_by_id(&self, id: SessionId) -> Result<Option<FoundRecord>, RepositoryError> {
        self.inner.find_by_id(id).await
    }
}

type Sessions = SessionManager<WithIndex<RecordedIndex>>;

fn create_manager() -> Sessions {
    let inner = MemoryRepository::default();
    let index = RecordedIndex {
        inner: inner.clone(),
        renewed: Arc::default(),
        removed: Arc::default(),
    };
    let policy = SessionPolicy::new(IDLE_TIMEOUT, None).unwrap();
    SessionManager::new(WithIndex { inner, index }, policy)
}

async fn create_session(sessions: &Sessions, attributes: SessionAttributes) -> NewSession {
    let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).unwrap();
    let login = Login {
        attributes,
        ..Login::new(cookies, BaseUrl::new("https://golf.example").unwrap())
    };
    sessions.store_login(login).await.unwrap()
}

fn of_alice() -> SessionAttributes {
    SessionAttributes::of_subject("alice".parse().unwrap())
}

/// Returns the entries that were renewed since the last call of this function.
fn take_renewed(sessions: &Sessions) -> Vec<IndexEntry> {
    std::mem::take(&mut sessions.repository().index.renewed.lock().unwrap())
}

#[tokio::test]
async fn access_renews_the_index_entry_once_per_half_idle_timeout() {
    let sessions = create_manager();
    let new = create_session(&sessions, of_alice()).await;
    sessions.get(&new.token).await.unwrap();
    assert!(take_renewed(&sessions).is_empty());

    for _ in 0..3 {
        sessions.repository().advance_clock(IDLE_TIMEOUT / 2);
        for _ in 0..3 {
            sessions.get(&new.token).await.unwrap();
        }
        let renewed = take_renewed(&sessions);
        assert_eq!(renewed.len(), 1);
        assert_eq!(renewed[0].token, new.token);
        assert_eq!(renewed[0].succeeds, Some(new.token.clone()));
        assert_eq!(renewed[0].kept_for, IDLE_TIMEOUT * 3);
    }
}

#[tokio::test]
async fn update_renews_the_index_entry_after_half_the_idle_timeout() {
    let sessions = create_manager();
    let new = create_session(&sessions, of_alice()).await;
    sessions.repository().advance_clock(IDLE_TIMEOUT / 2);
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&new.token, &patch, |_| true).await;
    updated.unwrap();
    assert_eq!(take_renewed(&sessions).len(), 1);
}

#[tokio::test]
async fn access_to_a_session_without_a_subject_renews_no_index_entry() {
    let sessions = create_manager();
    let new = create_session(&sessions, SessionAttributes::default()).await;
    sessions.repository().advance_clock(IDLE_TIMEOUT / 2);
    sessions.get(&new.token).await.unwrap();
    assert!(take_renewed(&sessions).is_empty());
}

#[tokio::test]
async fn rotation_and_deletion_each_remove_the_index_entry_of_the_invalidated_token() {
    let sessions = create_manager();
    let new = create_session(&sessions, of_alice()).await;
    let rotated = sessions.rotate(&new.token).await.unwrap();
    let removed = || sessions.repository().index.removed.lock().unwrap().clone();
    assert_eq!(removed(), [new.token]);
    assert!(sessions.delete(&rotated.token).await.unwrap());
    assert_eq!(removed()[1..], [rotated.token]);
}
