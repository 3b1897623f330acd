//! List of the operations of a session repository, for decorators that treat all of them alike.

/// Passes the list of all operations of [`SessionRepository`](crate::SessionRepository) to the macro
/// `$generate`. A decorator that does the same in each operation generates its operations from this
/// list.
///
/// The outcome `T` of an asynchronous operation stands for `Result<T, RepositoryError>`. The list
/// contains neither [`close`](crate::SessionRepository::close) nor the methods that return the
/// subject index and the idempotency store. A crate that uses the types of `values` needs the crate
/// `time`.
///
/// ```
/// use tee_session_domain::{RepositoryError, SessionRepository};
///
/// /// Prints the name of each operation on sessions.
/// struct Traced<R>(R);
///
/// macro_rules! trace {
///     (
///         async sessions { $(fn $operation:ident($($name:ident: $type:ty),*) -> $outcome:ty;)* }
///         async store { $($check:tt)* }
///         values { $($value:tt)* }
///     ) => {
///         impl<R: SessionRepository> tee_session_domain::RepositoryLayer for Traced<R> {
///             type Inner = R;
///
///             fn inner(&self) -> &R {
///                 &self.0
///             }
///
///             $(
///                 async fn $operation(
///                     &self $(, $name: $type)*
///                 ) -> Result<$outcome, RepositoryError> {
///                     println!(stringify!($operation));
///                     self.0.$operation($($name),*).await
///                 }
///             )*
///         }
///     };
/// }
///
/// tee_session_domain::for_each_operation! { trace }
/// ```
#[macro_export]
macro_rules! for_each_operation {
    ($generate:ident) => {
        $generate! {
            async sessions {
                fn insert(
                    token: &$crate::SessionToken, session: &$crate::Session,
                    ttl: ::core::time::Duration
                ) -> $crate::InsertOutcome;
                fn load_and_touch(
                    token: &$crate::SessionToken, ttl: ::core::time::Duration
                ) -> Option<$crate::Session>;
                fn load(token: &$crate::SessionToken) -> Option<$crate::Session>;
                fn load_with_ttl(token: &$crate::SessionToken) -> Option<$crate::SessionWithTtl>;
                fn remove(token: &$crate::SessionToken) -> bool;
                fn load_for_update(
                    token: &$crate::SessionToken, touch: Option<::core::time::Duration>
                ) -> Option<$crate::VersionedSession>;
                fn compare_and_swap(
                    token: &$crate::SessionToken, seen: &$crate::Revision,
                    session: &$crate::Session, ttl: ::core::time::Duration
                ) -> $crate::SwapOutcome;
                fn move_to_new_token(
                    from: &$crate::SessionToken, seen: &$crate::Revision,
                    to: &$crate::SessionToken, session: &$crate::Session,
                    ttl: ::core::time::Duration
                ) -> $crate::MoveOutcome;
                fn move_repeatably(
                    from: &$crate::SessionToken, seen: &$crate::Revision,
                    to: &$crate::SessionToken, session: &$crate::Session,
                    ttl: ::core::time::Duration
                ) -> $crate::MoveOutcome;
                fn was_moved(from: &$crate::SessionToken, to: &$crate::SessionToken) -> bool;
            }
            async store {
                fn ping() -> ();
                fn check_permissions() -> ();
            }
            values {
                fn now() -> ::time::OffsetDateTime;
                fn is_partitioned() -> bool;
                fn instance() -> Option<$crate::StoreInstance>;
                fn store_keys(token: &$crate::SessionToken) -> Vec<$crate::StoreKey>;
            }
        }
    };
}
