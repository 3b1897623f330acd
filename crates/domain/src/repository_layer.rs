//! Layer around a session repository: forwards each operation that the layer does not change.

use std::sync::Arc;

use crate::{RepositoryError, SessionRepository, for_each_operation};

/// Declares [`RepositoryLayer`] with a forwarding default for each operation, and implements
/// [`SessionRepository`] for every layer.
macro_rules! declare_layer {
    (
        $(async $group:ident {
            $(fn $operation:ident($($name:ident: $type:ty),*) -> $outcome:ty;)*
        })*
        values { $(fn $value:ident($($argument:ident: $argument_type:ty),*) -> $result:ty;)* }
    ) => {
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

            $($(
                #[doc = concat!("Layer's version of [`SessionRepository::", stringify!($operation),
                    "`]. The default calls the inner repository.")]
                fn $operation(
                    &self $(, $name: $type)*
                ) -> impl Future<Output = Result<$outcome, RepositoryError>> + Send {
                    self.inner().$operation($($name),*)
                }
            )*)*

            $(
                #[doc = concat!("Layer's version of [`SessionRepository::", stringify!($value),
                    "`]. The default calls the inner repository.")]
                fn $value(&self $(, $argument: $argument_type)*) -> $result {
                    self.inner().$value($($argument),*)
                }
            )*

            /// Layer's version of [`SessionRepository::close`]. The default calls the inner
            /// repository.
            fn close(&self) -> impl Future<Output = ()> + Send {
                self.inner().close()
            }
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

            $($(
                fn $operation(
                    &self $(, $name: $type)*
                ) -> impl Future<Output = Result<$outcome, RepositoryError>> + Send {
                    RepositoryLayer::$operation(self $(, $name)*)
                }
            )*)*

            $(
                fn $value(&self $(, $argument: $argument_type)*) -> $result {
                    RepositoryLayer::$value(self $(, $argument)*)
                }
            )*

            fn close(&self) -> impl Future<Output = ()> + Send {
                RepositoryLayer::close(self)
            }
        }
    };
}

for_each_operation! { declare_layer }

/// Forwards every operation, so that several owners can share a repository.
impl<R: SessionRepository> RepositoryLayer for Arc<R> {
    type Inner = R;

    fn inner(&self) -> &R {
        self
    }
}
