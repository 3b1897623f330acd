//! One of two repositories, chosen at run time.

use std::time::Duration;

use crate::{
    BeginOutcome, FoundRecord, IdempotencyKey, IdempotencyRecord, IdempotencyStore, IndexCursor,
    IndexEntry, IndexPage, LastRevocation, Removal, RepositoryError, Revision, SessionId,
    SessionRepository, SessionToken, Subject, SubjectIndex, VersionedRecord, for_each_operation,
};

/// A repository that is one of two types, for programs that choose the store at run time.
///
/// ```
/// # async fn example<Embedded, Redis>(use_redis: bool, embedded: Embedded, redis: Redis)
/// # where
/// #     Embedded: tee_session_domain::SessionRepository,
/// #     Redis: tee_session_domain::SessionRepository,
/// # {
/// use tee_session_domain::{Either, SessionManager, SessionPolicy};
///
/// let repository = if use_redis {
///     Either::right(redis)
/// } else {
///     Either::left(embedded)
/// };
/// let sessions = SessionManager::new(repository, SessionPolicy::default());
/// # let _: SessionManager<Either<Embedded, Redis>> = sessions;
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Either<L: SessionRepository, R: SessionRepository> {
    repository: Side<L, R>,
    // `SessionRepository::subjects` and `idempotency` return references, so both are stored here.
    subjects: EitherIndex<L::Subjects, R::Subjects>,
    idempotency: EitherIdempotency<L::Idempotency, R::Idempotency>,
}

/// The subject index of [`Either`].
#[derive(Debug, Clone)]
pub struct EitherIndex<L, R>(Side<L, R>);

/// The store of idempotency records of [`Either`].
#[derive(Debug, Clone)]
pub struct EitherIdempotency<L, R>(Side<L, R>);

#[derive(Debug, Clone)]
enum Side<L, R> {
    Left(L),
    Right(R),
}

impl<L: SessionRepository, R: SessionRepository> Either<L, R> {
    /// Creates a repository of the left type `L` that forwards every call to `repository`.
    pub fn left(repository: L) -> Self {
        Self {
            subjects: EitherIndex(Side::Left(repository.subjects().clone())),
            idempotency: EitherIdempotency(Side::Left(repository.idempotency().clone())),
            repository: Side::Left(repository),
        }
    }

    /// Creates a repository of the right type `R` that forwards every call to `repository`.
    pub fn right(repository: R) -> Self {
        Self {
            subjects: EitherIndex(Side::Right(repository.subjects().clone())),
            idempotency: EitherIdempotency(Side::Right(repository.idempotency().clone())),
            repository: Side::Right(repository),
        }
    }
}

/// Evaluates `$call`, in which `$inner` is the repository or index that `$side` contains.
macro_rules! forward {
    ($side:expr, $inner:ident => $call:expr) => {
        match $side {
            Side::Left($inner) => $call,
            Side::Right($inner) => $call,
        }
    };
}

/// Implements [`SessionRepository`] for [`Either`] by forwarding every operation.
macro_rules! forward_operations {
    (
        $(async $group:ident {
            $(fn $operation:ident($($name:ident: $type:ty),*) -> $outcome:ty;)*
        })*
        values { $(fn $value:ident($($argument:ident: $argument_type:ty),*) -> $result:ty;)* }
    ) => {
        impl<L: SessionRepository, R: SessionRepository> SessionRepository for Either<L, R> {
            type Subjects = EitherIndex<L::Subjects, R::Subjects>;
            type Idempotency = EitherIdempotency<L::Idempotency, R::Idempotency>;

            fn subjects(&self) -> &Self::Subjects {
                &self.subjects
            }

            fn idempotency(&self) -> &Self::Idempotency {
                &self.idempotency
            }

            $($(
                async fn $operation(
                    &self $(, $name: $type)*
                ) -> Result<$outcome, RepositoryError> {
                    forward!(&self.repository, inner => inner.$operation($($name),*).await)
                }
            )*)*

            $(
                fn $value(&self $(, $argument: $argument_type)*) -> $result {
                    forward!(&self.repository, inner => inner.$value($($argument),*))
                }
            )*

            async fn close(&self) {
                forward!(&self.repository, inner => inner.close().await);
            }
        }
    };
}

for_each_operation! { forward_operations }

impl<L: SubjectIndex, R: SubjectIndex> SubjectIndex for EitherIndex<L, R> {
    async fn add(&self, entry: &IndexEntry) -> Result<LastRevocation, RepositoryError> {
        forward!(&self.0, inner => inner.add(entry).await)
    }

    async fn contains(
        &self,
        subject: &Subject,
        token: &SessionToken,
        last: LastRevocation,
    ) -> Result<bool, RepositoryError> {
        forward!(&self.0, inner => inner.contains(subject, token, last).await)
    }

    fn renew(&self, entry: IndexEntry, renewed: Box<dyn FnOnce() + Send>) {
        forward!(&self.0, inner => inner.renew(entry, renewed));
    }

    fn remove_entry(&self, subject: &Subject, token: &SessionToken) {
        forward!(&self.0, inner => inner.remove_entry(subject, token));
    }

    async fn list(
        &self,
        subject: &Subject,
        after: Option<IndexCursor>,
        limit: usize,
    ) -> Result<IndexPage, RepositoryError> {
        forward!(&self.0, inner => inner.list(subject, after, limit).await)
    }

    async fn mark_revocation(&self, subject: &Subject) -> Result<LastRevocation, RepositoryError> {
        forward!(&self.0, inner => inner.mark_revocation(subject).await)
    }

    async fn remove_older(
        &self,
        subject: &Subject,
        revocation: LastRevocation,
    ) -> Result<Removal, RepositoryError> {
        forward!(&self.0, inner => inner.remove_older(subject, revocation).await)
    }

    async fn remove_by_id(&self, id: SessionId) -> Result<bool, RepositoryError> {
        forward!(&self.0, inner => inner.remove_by_id(id).await)
    }

    async fn find_by_id(&self, id: SessionId) -> Result<Option<FoundRecord>, RepositoryError> {
        forward!(&self.0, inner => inner.find_by_id(id).await)
    }
}

impl<L: IdempotencyStore, R: IdempotencyStore> IdempotencyStore for EitherIdempotency<L, R> {
    fn keeps_records(&self) -> bool {
        forward!(&self.0, inner => inner.keeps_records())
    }

    async fn begin(
        &self,
        key: &IdempotencyKey,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> Result<BeginOutcome, RepositoryError> {
        forward!(&self.0, inner => inner.begin(key, record, ttl).await)
    }

    async fn find(&self, key: &IdempotencyKey) -> Result<Option<VersionedRecord>, RepositoryError> {
        forward!(&self.0, inner => inner.find(key).await)
    }

    async fn replace(
        &self,
        key: &IdempotencyKey,
        seen: &Revision,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> Result<Option<Revision>, RepositoryError> {
        forward!(&self.0, inner => inner.replace(key, seen, record, ttl).await)
    }

    async fn forget(&self, key: &IdempotencyKey, seen: &Revision) -> Result<bool, RepositoryError> {
        forward!(&self.0, inner => inner.forget(key, seen).await)
    }
}
