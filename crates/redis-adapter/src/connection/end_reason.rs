//! Reasons why a connection to Redis ends.

use std::fmt;

use fred::error::{Error as FredError, ErrorKind};
use tokio::task::JoinError;

use super::fred_error::fault;
use crate::RedisFault;

/// Reason why a connection to Redis and the fred client that owns the connection end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The service closes the connection on purpose. The connection still works, so the client can
    /// send `QUIT` first.
    Stopped,
    /// Redis sent no reply to several consecutive heartbeats.
    Silent,
    /// A reply did not match its request, so later replies may belong to other requests.
    OutOfStep,
    /// Redis replied with an error that makes the connection useless. Contains the error code.
    Refused(&'static str),
    /// The sentinels name another server as the primary, or are replacing the primary.
    Replaced,
    /// The connection broke, or Redis closed the connection. Contains the fault.
    Broken(RedisFault),
    /// The background task of the client library fred ended without an error.
    TaskEnded,
    /// The invalidation feed, which receives the names of changed keys, has failed its check. The
    /// feed wrote its canary key, but Redis did not report this change in time.
    CanaryTimeout,
    /// Invalidations (notifications of changed keys) arrived faster than the listener handled them.
    /// Some invalidations were dropped.
    Lagging,
}

impl End {
    pub(super) fn of(ended: Result<Result<(), FredError>, JoinError>) -> Self {
        match ended {
            // The server sent bytes that are not valid RESP (the Redis protocol).
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Parse) => {
                Self::OutOfStep
            }
            Ok(Err(error)) => Self::Broken(fault("connection", &error)),
            Ok(Ok(())) | Err(_) => Self::TaskEnded,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("closed"),
            Self::Silent => f.write_str("no reply to several heartbeats"),
            Self::OutOfStep => f.write_str("a reply did not match its request"),
            Self::Refused(code) => write!(f, "Redis replied with {code}"),
            Self::Replaced => {
                f.write_str("the sentinels have replaced the primary, or are electing one")
            }
            Self::Broken(fault) => write!(f, "{fault}"),
            Self::TaskEnded => f.write_str("the task of the connection ended"),
            Self::CanaryTimeout => {
                f.write_str("the invalidation of the feed's canary key did not arrive in time")
            }
            Self::Lagging => f.write_str("invalidations arrived faster than they were handled"),
        }
    }
}
