//! Errors of repositories and of the session manager. Each variant requires a different reaction of
//! the caller.

use std::{error::Error as StdError, fmt};

use thiserror::Error;

type Source = Box<dyn StdError + Send + Sync>;

/// Error of a repository operation. A missing session is not an error: operations report it as
/// `None` or `false`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The store cannot be reached, did not reply in time, or cannot serve requests now. It is
    /// unknown whether the session exists, and whether a write was carried out. Try again later.
    #[error("the session store is unavailable")]
    Unavailable {
        /// Cause that the adapter reports, without keys and values of records.
        #[source]
        source: Source,
    },
    /// The store refuses a command that this operation needs: the adapter lacks the permission for
    /// the command, or the store does not know the command. If the operation consists of several
    /// steps, the steps before the refused command may have been carried out. A retry does not
    /// help: an operator has to change the store's configuration.
    #[error("the session store refuses an operation that the service needs")]
    Misconfigured {
        /// Cause that the adapter reports, without keys and values of records.
        #[source]
        source: Source,
    },
    /// The store has no room for another session. Loading and deleting sessions still work.
    #[error("the session store is full")]
    Full {
        /// Cause that the adapter reports, without keys and values of records.
        #[source]
        source: Source,
    },
    /// The data stored under the session's key is not a session. The data was left unchanged. A
    /// retry does not help: the client has to create a new session, and an operator has to find out
    /// which program wrote the data.
    #[error("the data stored under the session's key is not a session")]
    Corrupt {
        /// Defect of the stored record, without the content of the record.
        #[source]
        source: Source,
    },
    /// The index of a subject contains data that this service did not write. The data was left
    /// unchanged, and only calls for this subject fail. A retry does not help: an operator has to
    /// delete the index.
    #[error("the index of the subject's sessions is corrupt")]
    CorruptIndex {
        /// Defect of the index, and the place of the index in the store.
        #[source]
        source: Source,
    },
    /// A newer release of the broker wrote the session's record, and this release cannot read the
    /// record. Such records exist after a rollback to an older release. The store itself works, and
    /// the session may be live for instances of the newer release.
    #[error("the session's record was written by a newer release")]
    NewerRecord {
        /// Cause that the adapter reports, without keys and values of records.
        #[source]
        source: Source,
    },
}

impl RepositoryError {
    /// Creates an [`Unavailable`](Self::Unavailable) error caused by `source`.
    pub fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable {
            source: source.into(),
        }
    }

    /// Creates a [`Misconfigured`](Self::Misconfigured) error caused by `source`.
    pub fn misconfigured(source: impl Into<Source>) -> Self {
        Self::Misconfigured {
            source: source.into(),
        }
    }

    /// Creates a [`Full`](Self::Full) error caused by `source`.
    pub fn full(source: impl Into<Source>) -> Self {
        Self::Full {
            source: source.into(),
        }
    }

    /// Creates a [`NewerRecord`](Self::NewerRecord) error caused by `source`.
    pub fn newer_record(source: impl Into<Source>) -> Self {
        Self::NewerRecord {
            source: source.into(),
        }
    }

    /// Creates a [`Corrupt`](Self::Corrupt) error caused by `source`.
    pub fn corrupt(source: impl Into<Source>) -> Self {
        Self::Corrupt {
            source: source.into(),
        }
    }

    /// Creates a [`CorruptIndex`](Self::CorruptIndex) error caused by `source`.
    pub fn corrupt_index(source: impl Into<Source>) -> Self {
        Self::CorruptIndex {
            source: source.into(),
        }
    }

    /// Returns `true` if the error shows that the store, or the partition that contains the
    /// session, cannot serve requests now. The other errors concern one session, one subject, one
    /// kind of operation or only new sessions.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Misconfigured { .. }
            | Self::Full { .. }
            | Self::Corrupt { .. }
            | Self::CorruptIndex { .. }
            | Self::NewerRecord { .. } => false,
        }
    }

    /// Returns `true` if the operation may have been carried out in spite of the error, or if another
    /// instance may be able to carry it out. A caller that repeats the operation must then continue
    /// it, and must not begin it again.
    #[must_use]
    pub fn may_be_completed(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::NewerRecord { .. } => true,
            Self::Misconfigured { .. }
            | Self::Full { .. }
            | Self::Corrupt { .. }
            | Self::CorruptIndex { .. } => false,
        }
    }

    /// Returns the class of the error as a label for metrics, such as `unavailable`.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Full { .. } => "full",
            Self::Corrupt { .. } => "corrupt",
            Self::CorruptIndex { .. } => "corrupt_index",
            Self::NewerRecord { .. } => "newer_record",
        }
    }
}

/// Error of a [`SessionManager`](crate::SessionManager) operation.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The session does not exist: it was never created, has expired, is past its absolute
    /// lifetime, or was deleted. The client has to create a new session.
    #[error("the session does not exist or has expired")]
    NotFound,
    /// Concurrent requests kept changing the session until the maximum number of attempts was
    /// reached. Nothing was changed. Try again.
    #[error("concurrent requests kept changing the session; nothing was changed, so try again")]
    Contended,
    /// The subject has reached its limit of live sessions, so no session was created. End one of
    /// the subject's sessions first.
    #[error("the subject has reached its limit of live sessions; end one of them first")]
    TooManySessions,
    /// A request with the same `Idempotency-Key` is still running. Repeat the request in a moment.
    #[error("a request with the same idempotency key is still running; repeat it in a moment")]
    OperationInProgress,
    /// The same `Idempotency-Key` was used for another request. Nothing was changed. Use a new key
    /// for each request.
    #[error("the idempotency key was used for another request; use a new key for each request")]
    IdempotencyKeyReused,
    /// The repository failed for the reason in the [`RepositoryError`].
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

impl SessionError {
    /// Returns `true` if the error proves that the token has no usable session: the session does
    /// not exist, or its record is corrupt.
    #[must_use]
    pub fn proves_invalid_token(&self) -> bool {
        // A corrupt record stays corrupt, so only a new login helps.
        matches!(
            self,
            Self::NotFound | Self::Repository(RepositoryError::Corrupt { .. })
        )
    }
}

/// An error together with all its causes, for logs. `Display` writes the messages on one line,
/// separated by colons.
///
/// ```
/// use tee_session_domain::{ErrorChain, RepositoryError};
///
/// let error = RepositoryError::unavailable("connection refused");
/// assert_eq!(
///     ErrorChain(&error).to_string(),
///     "the session store is unavailable: connection refused"
/// );
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ErrorChain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Error for a text that contains a control character (Unicode category Cc).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the text contains a control character, which is not allowed")]
pub struct ControlCharacter;

impl ControlCharacter {
    pub(crate) fn refuse(text: &str) -> Result<(), Self> {
        if text.chars().any(char::is_control) {
            Err(Self)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn corrupt() -> RepositoryError {
        RepositoryError::Corrupt {
            source: "not a session".into(),
        }
    }

    #[rstest]
    #[case::unavailable(RepositoryError::unavailable("timed out"), "unavailable", true, true)]
    #[case::misconfigured(RepositoryError::misconfigured("no"), "misconfigured", false, false)]
    #[case::full(RepositoryError::full("at capacity"), "full", false, false)]
    #[case::corrupt(corrupt(), "corrupt", false, false)]
    #[case::corrupt_index(RepositoryError::corrupt_index("a"), "corrupt_index", false, false)]
    #[case::newer_record(
        RepositoryError::newer_record("version 9"),
        "newer_record",
        false,
        true
    )]
    fn error_has_a_class_and_says_if_the_store_is_down_and_if_the_operation_may_be_completed(
        #[case] error: RepositoryError,
        #[case] class: &str,
        #[case] is_outage: bool,
        #[case] may_be_completed: bool,
    ) {
        assert_eq!(error.class(), class);
        assert_eq!(error.is_outage(), is_outage);
        assert_eq!(error.may_be_completed(), may_be_completed);
    }

    #[rstest]
    #[case::not_found(SessionError::NotFound, true)]
    #[case::corrupt(corrupt().into(), true)]
    #[case::contended(SessionError::Contended, false)]
    #[case::too_many_sessions(SessionError::TooManySessions, false)]
    #[case::unavailable(RepositoryError::unavailable("timed out").into(), false)]
    #[case::misconfigured(RepositoryError::misconfigured("refused").into(), false)]
    #[case::newer_record(RepositoryError::newer_record("version 9").into(), false)]
    fn only_a_missing_or_corrupt_session_proves_an_invalid_token(
        #[case] error: SessionError,
        #[case] proves: bool,
    ) {
        assert_eq!(error.proves_invalid_token(), proves);
    }

    #[test]
    fn error_chain_shows_the_error_and_its_causes_on_one_line() {
        let cause = RepositoryError::unavailable("connection refused");
        let error = RepositoryError::full(cause);
        assert_eq!(
            ErrorChain(&error).to_string(),
            "the session store is full: the session store is unavailable: connection refused"
        );
    }
}
