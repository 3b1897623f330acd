//! Harness that wraps the harness of an adapter. Limits the time of each repository call, checks
//! that its error contains no secret, and varies the order of concurrent calls.

use std::time::Duration;

use super::{
    Harness,
    supervisor::{NoteSecrets, Supervisor},
};
use crate::{
    BeginOutcome, FoundRecord, IdempotencyKey, IdempotencyRecord, IdempotencyStore, IndexCursor,
    IndexEntry, IndexPage, LastRevocation, Removal, RepositoryError, Revision, SessionId,
    SessionRepository, SessionToken, Subject, SubjectIndex, VersionedRecord, for_each_operation,
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

/// Implements [`SessionRepository`] for [`SupervisedRepository`] by supervising every operation.
macro_rules! supervise_operations {
    (
        $(async $group:ident {
            $(fn $operation:ident($($name:ident: $type:ty),*) -> $outcome:ty;)*
        })*
        values { $(fn $value:ident($($argument:ident: $argument_type:ty),*) -> $result:ty;)* }
    ) => {
        impl<R: SessionRepository> SessionRepository for SupervisedRepository<R> {
            type Subjects = SupervisedIndex<R::Subjects>;
            type Idempotency = SupervisedIdempotency<R::Idempotency>;

            fn subjects(&self) -> &Self::Subjects {
                &self.index
            }

            fn idempotency(&self) -> &Self::Idempotency {
                &self.idempotency
            }

            $($(
                async fn $operation(
                    &self $(, $name: $type)*
                ) -> Result<$outcome, RepositoryError> {
                    $($name.note_secrets(&self.supervisor);)*
                    let call = self.inner.$operation($($name),*);
                    self.supervisor.run(stringify!($operation), call).await
                }
            )*)*

            $(
                fn $value(&self $(, $argument: $argument_type)*) -> $result {
                    self.inner.$value($($argument),*)
                }
            )*

            async fn close(&self) {
                self.inner.close().await;
            }
        }
    };
}

for_each_operation! { supervise_operations }

/// Subject index that forwards each call to the adapter's index, and supervises the call as
/// [`Supervised`] describes.
#[derive(Debug, Clone)]
pub struct SupervisedIndex<I> {
    inner: I,
    supervisor: Supervisor,
}

impl<I: SubjectIndex> SubjectIndex for SupervisedIndex<I> {
    async fn add(&self, entry: &IndexEntry) -> Result<LastRevocation, RepositoryError> {
        entry.token.note_secrets(&self.supervisor);
        entry.session.note_secrets(&self.supervisor);
        self.supervisor.run("add", self.inner.add(entry)).await
    }

    async fn contains(
        &self,
        subject: &Subject,
        token: &SessionToken,
        last: LastRevocation,
    ) -> Result<bool, RepositoryError> {
        token.note_secrets(&self.supervisor);
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
        record.token.note_secrets(&self.supervisor);
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
        record.token.note_secrets(&self.supervisor);
        let call = self.inner.replace(key, seen, record, ttl);
        self.supervisor.run("replace", call).await
    }

    async fn forget(&self, key: &IdempotencyKey, seen: &Revision) -> Result<bool, RepositoryError> {
        let call = self.inner.forget(key, seen);
        self.supervisor.run("forget", call).await
    }
}
