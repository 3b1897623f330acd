//! In-memory repository with a replaceable subject index.

use std::time::Duration;

use tee_session_domain::{RepositoryError, SessionRepository, SubjectIndex, for_each_operation};
use tee_session_memory_adapter::MemoryRepository;

/// Stores sessions in memory, and their index entries in `index`.
#[derive(Clone)]
pub(crate) struct WithIndex<I> {
    pub(crate) inner: MemoryRepository,
    pub(crate) index: I,
}

impl<I> WithIndex<I> {
    pub(crate) fn advance_clock(&self, duration: Duration) {
        self.inner.clock().set(self.inner.now() + duration);
    }
}

/// Implements [`SessionRepository`] for [`WithIndex`] by forwarding every operation.
macro_rules! forward_operations {
    (
        $(async $group:ident {
            $(fn $operation:ident($($name:ident: $type:ty),*) -> $outcome:ty;)*
        })*
        values { $(fn $value:ident($($argument:ident: $argument_type:ty),*) -> $result:ty;)* }
    ) => {
        impl<I: SubjectIndex> SessionRepository for WithIndex<I> {
            type Subjects = I;
            type Idempotency = <MemoryRepository as SessionRepository>::Idempotency;

            fn subjects(&self) -> &I {
                &self.index
            }

            fn idempotency(&self) -> &Self::Idempotency {
                self.inner.idempotency()
            }

            $($(
                async fn $operation(
                    &self $(, $name: $type)*
                ) -> Result<$outcome, RepositoryError> {
                    self.inner.$operation($($name),*).await
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

for_each_operation! { forward_operations }
