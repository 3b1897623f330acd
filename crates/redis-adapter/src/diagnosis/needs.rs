//! What is going to be asked of Redis.

/// What Redis is needed for, beside keeping sessions: what is missing for it is an error then, and not
/// a warning or nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Needs {
    /// Sessions have subjects, and are listed and ended by them.
    pub subjects: bool,
    /// A near cache hears of changes ([`RedisChanges`](crate::RedisChanges)).
    pub changes: bool,
}

impl Needs {
    /// Whether sessions have subjects for certain. They may have them all the same: what is missing for
    /// that is a warning otherwise.
    #[must_use]
    pub fn with_subjects(self, subjects: bool) -> Self {
        Self { subjects, ..self }
    }

    /// Whether a near cache hears of changes.
    #[must_use]
    pub fn with_changes(self, changes: bool) -> Self {
        Self { changes, ..self }
    }
}
