//! What can go wrong, told apart by what a caller can do about it.

use std::{error::Error as StdError, fmt};

use thiserror::Error;

type Source = Box<dyn StdError + Send + Sync>;

/// A repository could not do what it was asked. An absent session is not an error: it is `None`
/// or `false`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The store cannot be reached, did not answer in time, or cannot serve now. Nobody knows
    /// whether the session exists, or whether a write was carried out. Try again later.
    #[error("the session store is unavailable")]
    Unavailable {
        /// What the adapter saw, without keys or values.
        #[source]
        source: Source,
    },
    /// The store has no room for another session. Reading and deleting still work.
    #[error("the session store is full")]
    Full {
        /// What the adapter saw, without keys or values.
        #[source]
        source: Source,
    },
    /// There is something under the session's key that is no session. It was left as it is.
    /// Trying again does not help; an operator has to look.
    #[error("the session's record is corrupt")]
    Corrupt {
        /// What is wrong with it, without its content.
        #[source]
        source: Source,
    },
    /// The session's record was written by a newer release, as happens while a roll-out is taken
    /// back. The session may well be alive, for instances of that release; the store is fine.
    #[error("the session's record was written by a newer release")]
    NewerRecord {
        /// What the adapter saw, without keys or values.
        #[source]
        source: Source,
    },
}

impl RepositoryError {
    /// The store cannot serve, because of `source`.
    pub fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable {
            source: source.into(),
        }
    }

    /// The store has no room, because of `source`.
    pub fn full(source: impl Into<Source>) -> Self {
        Self::Full {
            source: source.into(),
        }
    }

    /// The record is one of a newer release, as `source` says.
    pub fn newer_record(source: impl Into<Source>) -> Self {
        Self::NewerRecord {
            source: source.into(),
        }
    }

    /// The record is no session, because of `source`.
    pub fn corrupt(source: impl Into<Source>) -> Self {
        Self::Corrupt {
            source: source.into(),
        }
    }
}

/// A [`SessionManager`](crate::SessionManager) could not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// There is no such session: never created, expired, past its absolute lifetime, or deleted.
    /// The caller has to log in again.
    #[error("session not found or expired")]
    NotFound,
    /// Others kept changing the session. Nothing was changed; try again.
    #[error("the session kept changing meanwhile")]
    Contended,
    /// The subject has as many live sessions as it may have. End one first.
    #[error("the subject has as many sessions as it may have")]
    TooManySessions,
    /// The repository failed; see [`RepositoryError`] for what that means.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

/// An error with all its causes, in one line for a log: `Display` joins them with colons.
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

/// The text holds a control character (Unicode category Cc).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("control characters are not allowed")]
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
