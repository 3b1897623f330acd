//! Errors of calls to the service.

use std::{error::Error as StdError, time::Duration};

use thiserror::Error;

use crate::{Outcome, Problem, ProblemCode};

pub(crate) type Source = Box<dyn StdError + Send + Sync>;

/// Error of a call to the service. If the call can be retried safely, the client has already
/// retried it before it returns this error.
///
/// The texts of the error and of its causes never contain a token, a cookie or a client secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The service, or a gateway in front of the service, answered with a status other than 2xx.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// No connection could be established, or the request could not be built. No request was sent.
    #[error("no connection to the service")]
    Connect {
        /// Cause of the failed connection or request.
        #[source]
        source: Source,
    },
    /// The response was not complete within the timeout. The service may have carried out the call.
    #[error("the service did not respond in time")]
    Timeout {
        /// Cause of the timeout.
        #[source]
        source: Source,
    },
    /// The connection was closed before the response was complete. The service may have carried out
    /// the call.
    #[error("the connection was closed before the response was complete")]
    Transport {
        /// Cause of the closed connection.
        #[source]
        source: Source,
    },
    /// The response is longer than 1 MiB, or a response with a 2xx status is not in the expected
    /// format.
    #[error("unexpected response from the service, expected {0}")]
    Decode(
        /// Description of the expected response.
        &'static str,
    ),
}

impl ClientError {
    /// Returns the error response of the service if the error is [`ClientError::Problem`]. Returns
    /// `None` for all other errors, such as a timeout.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// Returns `true` if the session token is invalid or expired. The user of the session has to
    /// log in again.
    #[must_use]
    pub fn is_invalid_token(&self) -> bool {
        self.problem()
            .is_some_and(|problem| problem.code == ProblemCode::InvalidToken)
    }

    /// Returns `true` if the user of the session is no longer logged in at the site. The session
    /// itself is still alive. The user has to log in to the site again.
    #[must_use]
    pub fn is_upstream_session_expired(&self) -> bool {
        self.problem()
            .is_some_and(|problem| problem.code == ProblemCode::UpstreamSessionExpired)
    }

    /// Returns `true` if the same call may succeed later.
    ///
    /// If [`retry_after`](Self::retry_after) returns a time, wait for that time before you retry
    /// the call. If the call creates or changes something, check
    /// [`outcome_is_unknown`](Self::outcome_is_unknown) before you retry the call.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            // An operator has to change the configuration of the store first.
            Self::Problem(problem) if problem.code == ProblemCode::StoreMisconfigured => false,
            Self::Problem(problem) => {
                self.is_in_progress() || matches!(problem.status, 408 | 429 | 502..=504)
            }
            Self::Connect { .. } | Self::Timeout { .. } | Self::Transport { .. } => true,
            Self::Decode(_) => false,
        }
    }

    /// Returns `true` if the service may have carried out the call despite the error.
    #[must_use]
    pub fn outcome_is_unknown(&self) -> bool {
        match self {
            Self::Problem(problem) if problem.outcome.is_some() => {
                problem.outcome == Some(Outcome::Unknown)
            }
            Self::Problem(problem) => {
                let refused = [ProblemCode::Overloaded, ProblemCode::StoreFull];
                self.is_in_progress() || problem.status >= 500 && !refused.contains(&problem.code)
            }
            Self::Connect { .. } => false,
            Self::Timeout { .. } | Self::Transport { .. } | Self::Decode(_) => true,
        }
    }

    /// Returns the time to wait before a retry, from the `Retry-After` header field of the
    /// response. Returns `None` if there is no response or no such header field.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.problem()?.retry_after
    }

    /// Returns `true` if an earlier attempt with the same `Idempotency-Key` is still running.
    pub(crate) fn is_in_progress(&self) -> bool {
        self.problem()
            .is_some_and(|problem| problem.code == ProblemCode::IdempotencyInProgress)
    }

    /// Creates the error for a request that could not be built and was not sent.
    pub(crate) fn unsent(source: impl Into<Source>) -> Self {
        Self::Connect {
            source: source.into(),
        }
    }

    /// Returns `true` if the response reports that the session does not exist.
    pub(crate) fn is_gone(&self) -> bool {
        self.problem().is_some_and(|problem| {
            [ProblemCode::InvalidToken, ProblemCode::NotFound].contains(&problem.code)
        })
    }
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        let unsent = error.is_connect() || error.is_builder();
        let late = error.is_timeout();
        // The URL is removed from the error, because its query may contain a subject.
        let source = Source::from(error.without_url());
        match (unsent, late) {
            (true, _) => Self::Connect { source },
            (false, true) => Self::Timeout { source },
            (false, false) => Self::Transport { source },
        }
    }
}
