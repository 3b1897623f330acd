//! Harness that wraps the harness of an adapter. Limits the time of each repository call, checks
//! that its error contains no secret, and varies the order of concurrent calls.

use std::time::Duration;

use time::OffsetDateTime;

use super::{Harness, supervisor::Supervisor};
use crate::{
    BeginOutcome, FoundRecord, IdempotencyKey, IdempotencyRecord, IdempotencyStore, IndexCursor,
    IndexEntry, IndexPage, InsertOutcome, LastRevocation, MoveOutcome, Removal, RepositoryError,
    Revision, Session, SessionId, SessionRepository, SessionToken, SessionWithTtl, StoreInstance,
    StoreKey, Subject, SubjectIndex, SwapOutcome, VersionedRecord, VersionedSession,
};

/// Harness around the harness of an adapter, with which [`contract_suite!`](crate::contract_suite)
/// runs each rule. The harness supervises each call of the adapter's repository:
///
/// - The call yields to other tasks at random, before it begins and before it returns. Concurrent
///   calls therefore overlap, even if the repository never waits, for example in memory.
/// - The call must return within [`Harness::CALL_LIMIT`].
/// - If the call returns an error, the texts of the error and of its causes must contain no token
///   and no cookie value that the rule has given to the repository.
#[derive(Debug)]
pub struct Supervised<H> {
    harness: H,
    supervisor: Supervisor,
}

impl<H: Harness> Supervised<H> {
    /// Supervises the repository of `harness`.
    #[must_use]
    pub fn new(harness: H) -> Self {
        let supervisor = Supervisor::new(H::CALL_LIMIT);
        Self {
            harness,
            supervisor,
        }
    }
}

impl<H: Harness> Harness for Supervised<H> {
    type Repository = SupervisedRepository<H::Repository>;

    const CALL_LIMIT: Duration = H::CALL_LIMIT;

    fn repository(&self) -> Self::Repository {
        let repository = self.harness.repository();
        SupervisedRepository {
            index: SupervisedIndex {
                inner: repository.subjects().clone(),
                supervisor: self.supervisor.clone(),
            },
            idempotency: SupervisedIdempotency {
                inner: repository.idempotency().clone(),
                supervisor: self.supervisor.clone(),
            },
            supervisor: self.supervisor.clone(),
            inner: repository,
        }
    }

    async fn pass(&self, duration: Duration) {
        self.harness.pass(duration).await;
    }

    async fn lose_store(&self) -> bool {
        self.harness.lose_store().await
    }

    async fn hang_store(&self) -> bool {
        self.harness.hang_store().await
    }

    async fn damage(&self, token: &SessionToken) -> bool {
        self.harness.damage(token).await
    }
}

/// Repository that forwards each call to the adapter's repository, and supervises the call as
/// [`Supervised`] describes.
#[derive(Debug, Clone)]
pub struct SupervisedRepository<R: SessionRepository> {
    inner: R,
    index: SupervisedIndex<R::Subjects>,
    idempotency: SupervisedIdempotency<R::Idempotency>,
    supervisor: Supervisor,
}

impl<R: SessionRepository> SessionRepository for SupervisedRepository<R> {
    type Subjects = SupervisedIndex<R::Subjects>;
    type Idempotency = SupervisedIdempotency<R::Idempotency>;

    async fn insert(
        &self,
        token: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<InsertOutcome, RepositoryError> {
        self.supervisor.note_token(token);
        self.supervisor.note_cookies(session);
        let call = self.inner.insert(token, session, ttl);
        self.supervisor.run("insert", call).await
    }

    async fn load_and_touch(
        &self,
        token: &SessionToken,
        ttl: Duration,
    ) -> Result<Option<Session>, RepositoryError> {
        self.supervisor.note_token(token);
        let call = self.inner.load_and_touch(token, ttl);
        self.supervisor.run("load_and_touch", call).await
    }

    async fn load(&self, token: &SessionToken) -> Result<Option<Session>, RepositoryError> {
        self.supervisor.note_token(token);
        self.supervisor.run("load", self.inner.load(token)).await
    }

    async fn load_with_ttl(
        &self,
        token: &SessionToken,
    ) -> Result<Option<SessionWithTtl>, RepositoryError> {
        self.supervisor.note_token(token);
        let call = self.inner.load_with_ttl(token);
        self.supervisor.run("load_with_ttl", call).await
    }

    async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        self.supervisor.note_token(token);
        let call = self.inner.remove(token);
        self.supervisor.run("remove", call).await
    }

    async fn load_for_update(
        &self,
        token: &SessionToken,
        touch: Option<Duration>,
    ) -> Result<Option<VersionedSession>, RepositoryError> {
        self.supervisor.note_token(token);
        let call = self.inner.load_for_update(token, touch);
        self.supervisor.run("load_for_update", call).await
    }

    async fn compare_and_swap(
        &self,
        token: &SessionToken,
        seen: &Revision,
        session: &Session,
        ttl: Duration,
    ) -> Result<SwapOutcome, RepositoryError> {
        self.supervisor.note_token(token);
        self.supervisor.note_cookies(session);
        let call = self.inner.compare_and_swap(token, seen, session, ttl);
        self.supervisor.run("compare_and_swap", call).await
    }

    async fn move_to_new_token(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        self.supervisor.note_token(from);
        self.supervisor.note_token(to);
        self.supervisor.note_cookies(session);
        let call = self.inner.move_to_new_token(from, seen, to, session, ttl);
        self.supervisor.run("move_to_new_token", call).await
    }

    async fn move_repeatably(
        &self,
        from: &SessionToken,
        seen: &Revision,
        to: &SessionToken,
        session: &Session,
        ttl: Duration,
    ) -> Result<MoveOutcome, RepositoryError> {
        self.supervisor.note_token(from);
        self.supervisor.note_token(to);
        self.supervisor.note_cookies(session);
        let call = self.inner.move_repeatably(from, seen, to, session, ttl);
        self.supervisor.run("move_repeatably", call).await
    }

    async fn was_moved(
        &self,
        from: &SessionToken,
        to: &SessionToken,
    ) -> Result<bool, RepositoryError> {
        let call = self.inner.was_moved(from, to);
        self.supervisor.run("was_moved", call).await
    }

    fn subjects(&self) -> &Self::Subjects {
        &self.index
    }

    fn idempotency(&self) -> &Self::Idempotency {
        &self.idempotency
    }

    async fn ping(&self) -> Result<(), RepositoryError> {
        self.supervisor.run("ping", self.inner.ping()).await
    }

    async fn check_permissions(&self) -> Result<(), RepositoryError> {
        let call = self.inner.check_permissions();
        self.supervisor.run("check_permissions", call).await
    }

    fn now(&self) -> OffsetDateTime {
        self.inner.now()
    }

    fn is_partitioned(&self) -> bool {
        self.inner.is_partitioned()
    }

    fn instance(&self) -> Option<StoreInstance> {
        self.inner.instance()
    }

    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey> {
        self.inner.store_keys(token)
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// Subject index that forwards each call to the adapter's index, and supervises the call as
/// [`Supervised`] describes.
#[derive(Debug, Clone)]
pub struct SupervisedIndex<I> {
    inner: I,
    supervisor: Supervisor,
}

impl<I: SubjectIndex> SubjectIndex for SupervisedIndex<I> {
    async fn add(&self, entry: &IndexEntry) -> Result<LastRevocation, RepositoryError> {
        self.supervisor.note_token(&entry.token);
        self.supervisor.note_cookies(&entry.session);
        self.supervisor.run("add", self.inner.add(entry)).await
    }

    async fn contains(
        &self,
        subject: &Subject,
        token: &SessionToken,
        last: LastRevocation,
    ) -> Result<bool, RepositoryError> {
        self.supervisor.note_token(token);
        let call = self.inner.contains(subject, token, last);
        self.supervisor.run("contains", call).await
    }

    fn renew(&self, entry: IndexEntry, renewed: Box<dyn FnOnce() + Send>) {
        self.inner.renew(entry, renewed);
    }

    fn remove_entry(&self, subject: &Subject, token: &SessionToken) {
        self.inner.remove_entry(subject, token);
    }

    async fn list(
        &self,
        subject: &Subject,
        after: Option<IndexCursor>,
        limit: usize,
    ) -> Result<IndexPage, RepositoryError> {
        let call = self.inner.list(subject, after, limit);
        self.supervisor.run("list", call).await
    }

    async fn mark_revocation(&self, subject: &Subject) -> Result<LastRevocation, RepositoryError> {
        let call = self.inner.mark_revocation(subject);
        self.supervisor.run("mark_revocation", call).await
    }

    async fn remove_older(
        &self,
        subject: &Subject,
        revocation: LastRevocation,
    ) -> Result<Removal, RepositoryError> {
        let call = self.inner.remove_older(subject, revocation);
        self.supervisor.run("remove_older", call).await
    }

    async fn remove_by_id(&self, id: SessionId) -> Result<bool, RepositoryError> {
        let call = self.inner.remove_by_id(id);
        self.supervisor.run("remove_by_id", call).await
    }

    async fn find_by_id(&self, id: SessionId) -> Result<Option<FoundRecord>, RepositoryError> {
        let call = self.inner.find_by_id(id);
        self.supervisor.run("find_by_id", call).await
    }
}

/// Idempotency store that forwards each call to the adapter's store, and supervises the call as
/// [`Supervised`] describes.
#[derive(Debug, Clone)]
pub struct SupervisedIdempotency<S> {
    inner: S,
    supervisor: Supervisor,
}

impl<S: IdempotencyStore> IdempotencyStore for SupervisedIdempotency<S> {
    fn keeps_records(&self) -> bool {
        self.inner.keeps_records()
    }

    async fn begin(
        &self,
        key: &IdempotencyKey,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> Result<BeginOutcome, RepositoryError> {
        self.supervisor.note_token(&record.token);
        let call = self.inner.begin(key, record, ttl);
        self.supervisor.run("begin", call).await
    }

    async fn find(&self, key: &IdempotencyKey) -> Result<Option<VersionedRecord>, RepositoryError> {
        self.supervisor.run("find", self.inner.find(key)).await
    }

    async fn replace(
        &self,
        key: &IdempotencyKey,
        seen: &Revision,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> Result<Option<Revision>, RepositoryError> {
        self.supervisor.note_token(&record.token);
        let call = self.inner.replace(key, seen, record, ttl);
        self.supervisor.run("replace", call).await
    }

    async fn forget(&self, key: &IdempotencyKey, seen: &Revision) -> Result<bool, RepositoryError> {
        let call = self.inner.forget(key, seen);
        self.supervisor.run("forget", call).await
    }
}
