//! What can go wrong, told apart by what a caller can do about it.

use std::{error::Error as StdError, time::Duration};

use thiserror::Error;

use crate::{Problem, ProblemCode};

pub(crate) type Source = Box<dyn StdError + Send + Sync>;

/// A call did not succeed. What may safely be repeated was repeated before.
///
/// Nothing in it holds a token, a cookie or a client's secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The service, or a gateway before it, said no.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// There was no connection: nothing was sent.
    #[error("no connection to the service")]
    Connect {
        /// What was in the way.
        #[source]
        source: Source,
    },
    /// There was no answer in time. Nobody knows whether the call was carried out.
    #[error("no answer from the service in time")]
    Timeout {
        /// What was waited for.
        #[source]
        source: Source,
    },
    /// The connection ended before the answer. Nobody knows whether the call was carried out.
    #[error("the connection ended before the answer")]
    Transport {
        /// What was seen.
        #[source]
        source: Source,
    },
    /// The service said yes, but not in the words that are expected of it.
    #[error("the answer is no {0}")]
    Decode(
        /// What was expected.
        &'static str,
    ),
}

impl ClientError {
    /// The problem that the service told.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether the token opens nothing: its holder has to log in again.
    #[must_use]
    pub fn is_invalid_token(&self) -> bool {
        self.problem()
            .is_some_and(|problem| problem.code == ProblemCode::InvalidToken)
    }

    /// Whether the same call may succeed later, after [`retry_after`](Self::retry_after) if there is
    /// one. Of a call that creates or changes something, look at
    /// [`outcome_is_unknown`](Self::outcome_is_unknown) first.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Problem(problem) => matches!(problem.status, 408 | 429 | 502..=504),
            Self::Connect { .. } | Self::Timeout { .. } | Self::Transport { .. } => true,
            Self::Decode(_) => false,
        }
    }

    /// Whether the call may have been carried out all the same.
    #[must_use]
    pub fn outcome_is_unknown(&self) -> bool {
        match self {
            Self::Problem(problem) => {
                let refused = [ProblemCode::Overloaded, ProblemCode::StoreFull];
                problem.status >= 500 && !refused.contains(&problem.code)
            }
            Self::Connect { .. } => false,
            Self::Timeout { .. } | Self::Transport { .. } | Self::Decode(_) => true,
        }
    }

    /// How long the service asks to wait before the call is made again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.problem()?.retry_after
    }

    /// The request could not even be made.
    pub(crate) fn unsent(source: impl Into<Source>) -> Self {
        Self::Connect {
            source: source.into(),
        }
    }

    /// Whether what was to be ended is not there.
    pub(crate) fn says_gone(&self) -> bool {
        self.problem().is_some_and(|problem| {
            [ProblemCode::InvalidToken, ProblemCode::NotFound].contains(&problem.code)
        })
    }
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        let unsent = error.is_connect() || error.is_builder();
        let late = error.is_timeout();
        // A subject stands in some.
        let source = Source::from(error.without_url());
        match (unsent, late) {
            (true, _) => Self::Connect { source },
            (false, true) => Self::Timeout { source },
            (false, false) => Self::Transport { source },
        }
    }
}
