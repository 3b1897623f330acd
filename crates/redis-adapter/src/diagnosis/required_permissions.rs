//! Optional features of the service that require additional Redis permissions.

/// Optional features of the service that require more Redis permissions than storing sessions does.
///
/// If a feature is set to `true`, a missing permission for this feature is an error. If `subjects`
/// is `false`, a missing permission for subjects is a warning. If `changes` is `false`, the
/// permissions for the invalidation feed are not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RequiredPermissions {
    /// `true` if the service needs the permissions for subjects. The sessions of one subject, such
    /// as a user, can be listed and revoked together.
    pub subjects: bool,
    /// `true` if a near cache uses the invalidation feed
    /// ([`RedisInvalidationFeed`](crate::RedisInvalidationFeed)).
    pub changes: bool,
}

impl RequiredPermissions {
    /// Sets whether a missing permission for subjects is an error (`true`) or only a warning
    /// (`false`).
    #[must_use]
    pub fn with_subjects(self, subjects: bool) -> Self {
        Self { subjects, ..self }
    }

    /// Sets whether a near cache uses the invalidation feed. If `changes` is `false`, the
    /// permissions for the feed are not checked.
    #[must_use]
    pub fn with_invalidation_feed(self, changes: bool) -> Self {
        Self { changes, ..self }
    }
}
