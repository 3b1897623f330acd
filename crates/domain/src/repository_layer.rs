//! Layer around a session repository: forwards each operation that the layer does not change.

use std::{sync::Arc, time::Duration};

use time::OffsetDateTime;

use crate::{
    InsertOutcome, MoveOutcome, RepositoryError, Revision, Session, SessionRepository,
    SessionToken, SessionWithTtl, StoreInstance, StoreKey, SwapOutcome, VersionedSession,
};

/// Declares [`RepositoryLayer`] with a forwarding default for each listed operation, and implements
/// [`SessionRepository`] for every layer. One list serves both, so that an operation cannot be
/// missing in one of them.
macro_rules! forward {
    ($(fn $operation:ident(&self $(, $name:ident: $type:ty)*) -> $result:ty;)*) => {
        /// Decorator for a session repository: overrides some operations, and forwards all others
        /// to the inner repository. Examples are a layer that counts calls, caches sessions, or
        /// injects faults in a test. Every layer is a [`SessionRepository`], without boxing or
        /// dynamic dispatch.
        ///
        /// Each operation is forwarded to the operation of the same name. A layer that changes
        /// [`load_with_ttl`](Self::load_with_ttl) usually has to change [`load`](Self::load) too.
        ///
        /// This trait and [`SessionRepository`] declare the same operations. In a module that
        /// imports both traits, `layer.load(..)` is therefore ambiguous. Such a module imports only
        /// `SessionRepository`, and names this trait by its path:
        /// `impl tee_session_domain::RepositoryLayer for ..`.
        ///
        /// ```
        /// use std::sync::atomic::{AtomicUsize, Ordering};
        /// use tee_session_domain::{
        ///     RepositoryError, RepositoryLayer, SessionRepository, SessionToken,
        /// };
        ///
        /// /// Counts the sessions that were removed.
        /// struct CountRemovals<R> {
        ///     inner: R,
        ///     removed: AtomicUsize,
        /// }
        ///
        /// impl<R: SessionRepository> RepositoryLayer for CountRemovals<R> {
        ///     type Inner = R;
        ///
        ///     fn inner(&self) -> &R {
        ///         &self.inner
        ///     }
        ///
        ///     async fn remove(&self, token: &SessionToken) -> Result<bool, RepositoryError> {
        ///         let was_removed = self.inner.remove(token).await?;
        ///         self.removed.fetch_add(was_removed.into(), Ordering::Relaxed);
        ///         Ok(was_removed)
        ///     }
        /// }
        ///
        /// fn accepts_repository<R: SessionRepository>() {}
        ///
        /// fn accepts_layer_around<R: SessionRepository>() {
        ///     accepts_repository::<CountRemovals<R>>();
        /// }
        /// ```
        pub trait RepositoryLayer: Send + Sync + 'static {
            /// Type of the inner repository, to which the layer forwards operations.
            type Inner: SessionRepository;

            /// Returns the inner repository.
            fn inner(&self) -> &Self::Inner;

            $(
                #[doc = concat!("Layer's version of [`SessionRepository::", stringify!($operation),
                    "`]. The default calls the inner repository.")]
                fn $operation(&self $(, $name: $type)*) -> $result {
                    self.inner().$operation($($name),*)
                }
            )*
        }

        impl<L: RepositoryLayer> SessionRepository for L {
            type Subjects = <L::Inner as SessionRepository>::Subjects;
            type Idempotency = <L::Inner as SessionRepository>::Idempotency;

            /// Returns the subject index of the inner repository. A layer cannot replace this
            /// index.
            fn subjects(&self) -> &Self::Subjects {
                self.inner().subjects()
            }

            /// Returns the idempotency store of the inner repository. A layer cannot replace this
            /// store.
            fn idempotency(&self) -> &Self::Idempotency {
                self.inner().idempotency()
            }

            $(
                fn $operation(&self $(, $name: $type)*) -> $result {
                    RepositoryLayer::$operation(self $(, $name)*)
                }
            )*
        }
    };
}

forward! {
    fn insert(&self, token: &SessionToken, session: &Session, ttl: Duration)
        -> impl Future<Output = Result<InsertOutcome, RepositoryError>> + Send;
    fn load_and_touch(&self, token: &SessionToken, ttl: Duration)
        -> impl Future<Output = Result<Option<Session>, RepositoryError>> + Send;
    fn load(&self, token: &SessionToken)
        -> impl Future<Output = Result<Option<Session>, RepositoryError>> + Send;
    fn load_with_ttl(&self, token: &SessionToken)
        -> impl Future<Output = Result<Option<SessionWithTtl>, RepositoryError>> + Send;
    fn remove(&self, token: &SessionToken)
        -> impl Future<Output = Result<bool, RepositoryError>> + Send;
    fn load_for_update(&self, token: &SessionToken, touch: Option<Duration>)
        -> impl Future<Output = Result<Option<VersionedSession>, RepositoryError>> + Send;
    fn compare_and_swap(
        &self, token: &SessionToken, seen: &Revision, session: &Session, ttl: Duration
    ) -> impl Future<Output = Result<SwapOutcome, RepositoryError>> + Send;
    fn move_to_new_token(
        &self, from: &SessionToken, seen: &Revision, to: &SessionToken, session: &Session,
        ttl: Duration
    ) -> impl Future<Output = Result<MoveOutcome, RepositoryError>> + Send;
    fn move_repeatably(
        &self, from: &SessionToken, seen: &Revision, to: &SessionToken, session: &Session,
        ttl: Duration
    ) -> impl Future<Output = Result<MoveOutcome, RepositoryError>> + Send;
    fn was_moved(&self, from: &SessionToken, to: &SessionToken)
        -> impl Future<Output = Result<bool, RepositoryError>> + Send;
    fn ping(&self) -> impl Future<Output = Result<(), RepositoryError>> + Send;
    fn check_permissions(&self) -> impl Future<Output = Result<(), RepositoryError>> + Send;
    fn now(&self) -> OffsetDateTime;
    fn is_partitioned(&self) -> bool;
    fn instance(&self) -> Option<StoreInstance>;
    fn store_keys(&self, token: &SessionToken) -> Vec<StoreKey>;
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// Forwards every operation, so that several owners can share a repository.
impl<R: SessionRepository> RepositoryLayer for Arc<R> {
    type Inner = R;

    fn inner(&self) -> &R {
        self
    }
}
