//! Settings for the permission checks of the diagnosis.

/// Selects how the diagnosis checks the Redis permissions for optional features of the service.
///
/// - `subjects`: listing and revoking all sessions of a subject, such as a user. A missing
///   permission for this feature is an error if the field is `true`, and a warning if it is
///   `false`.
/// - `changes`: the invalidation feed, through which Redis reports changes of session records. A
///   missing permission for this feature is an error if the field is `true`. If the field is
///   `false`, the permissions for this feature are not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RequiredPermissions {
    /// `true` if a missing permission for sessions with a subject (such as a user) is an error.
    /// Otherwise, such a missing permission is only a warning.
    pub subjects: bool,
    /// `true` if a near cache (copies of sessions in this process) uses the invalidation feed
    /// ([`RedisInvalidationFeed`](crate::RedisInvalidationFeed)).
    pub changes: bool,
}

impl RequiredPermissions {
    /// Sets whether a missing permission for subjects (such as users) is an error (`true`) or only
    /// a warning (`false`).
    #[must_use]
    pub fn with_subjects(self, subjects: bool) -> Self {
        Self { subjects, ..self }
    }

    /// Sets whether a near cache (copies of sessions in this process) uses the invalidation feed.
    /// If `changes` is `false`, the permissions for the feed are not checked.
    #[must_use]
    pub fn with_invalidation_feed(self, changes: bool) -> Self {
        Self { changes, ..self }
    }
}
