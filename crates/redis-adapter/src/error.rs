//! What Redis or the way to it did wrong, classified in one place.

use fred::error::{Error as FredError, ErrorKind};
use tee_session_domain::RepositoryError;
use thiserror::Error;

/// A command failed, or could not be sent. It holds no key and no value: of a reply only its
/// code (`OOM`, `NOPERM`, ...) is kept, since Redis repeats arguments in some texts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedisFault {
    /// There is no connection now; a new one is being made.
    #[error("{command} not sent: not connected to Redis")]
    NotConnected {
        /// The command.
        command: &'static str,
    },
    /// The last commands were left without an answer, so that this one was held back. It is being
    /// tried in the background whether Redis answers again.
    #[error("{command} not sent: Redis left the last commands without an answer")]
    CircuitOpen {
        /// The command.
        command: &'static str,
    },
    /// No answer came in time. A write may have been carried out.
    #[error("{command} got no answer from Redis in time")]
    TimedOut {
        /// The command.
        command: &'static str,
    },
    /// The connection broke. A write may have been carried out.
    #[error("{command} lost its connection to Redis: {reason}")]
    Disconnected {
        /// The command.
        command: &'static str,
        /// What the connection said.
        reason: String,
    },
    /// Redis answered with an error.
    #[error("{command} was refused by Redis: {code}")]
    Refused {
        /// The command.
        command: &'static str,
        /// The first word of the reply.
        code: String,
    },
    /// The server belongs to a cluster, and the key is another one's. Nothing was carried out.
    #[error("{command} was redirected to {to}, as a Redis Cluster does")]
    Redirected {
        /// The command.
        command: &'static str,
        /// Where it belongs, as `host:port`.
        to: String,
        /// Only this time, after ASKING: the key's hash slot is on its way there.
        is_ask: bool,
    },
    /// Redis answered with something that the command does not answer with.
    #[error("{command} got an answer of an unexpected type from Redis")]
    Unexpected {
        /// The command.
        command: &'static str,
    },
}

impl RedisFault {
    pub(crate) fn new(command: &'static str, error: &FredError) -> Self {
        if let Some((to, is_ask)) = redirection(error.details()) {
            return Self::Redirected {
                command,
                to,
                is_ask,
            };
        }
        if let Some(code) = reply_code(error.details()) {
            return Self::Refused {
                command,
                code: code.to_owned(),
            };
        }
        match error.kind() {
            ErrorKind::Timeout => Self::TimedOut { command },
            ErrorKind::Canceled => Self::NotConnected { command },
            ErrorKind::IO | ErrorKind::Tls => Self::Disconnected {
                command,
                reason: error.details().to_owned(),
            },
            ErrorKind::Parse | ErrorKind::NotFound | ErrorKind::InvalidArgument => {
                Self::Unexpected { command }
            }
            kind => Self::Disconnected {
                command,
                reason: kind.to_str().to_owned(),
            },
        }
    }

    /// What Redis or the way to it did wrong, if that is what `error` tells.
    pub(crate) fn of(error: &RepositoryError) -> Option<&Self> {
        match error {
            RepositoryError::Unavailable { source } => source.downcast_ref(),
            _ => None,
        }
    }
}

/// The one place that decides what a failed command means to the caller.
impl From<RedisFault> for RepositoryError {
    fn from(fault: RedisFault) -> Self {
        match &fault {
            RedisFault::Refused { code, .. } if code == "WRONGTYPE" => Self::corrupt(fault),
            RedisFault::Refused { code, .. } if code == "OOM" => Self::full(fault),
            _ => Self::unavailable(fault),
        }
    }
}

/// `MOVED slot host:port` or `ASK slot host:port`.
fn redirection(details: &str) -> Option<(String, bool)> {
    let mut words = details.split_whitespace();
    let is_ask = match words.next()? {
        "MOVED" => false,
        "ASK" => true,
        _ => return None,
    };
    let to = words.nth(1)?;
    Some((to.to_owned(), is_ask))
}

/// The code that begins an error reply: a word of capital letters.
fn reply_code(details: &str) -> Option<&str> {
    let word = details.split_whitespace().next()?;
    let is_code = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code.then_some(word)
}

/// What is stored under a session's key is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CorruptRecord {
    /// It is larger than any session can be.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It does not hold what a session is made of.
    #[error("it does not hold cookies, base_url and created_at")]
    NotASession,
    /// It does not begin as a sealed record does, or is too short for one.
    #[error("it is not a sealed record")]
    NotSealed,
    /// It was changed, was written under another key, or was moved to this one.
    #[error("it does not open")]
    DoesNotOpen,
    /// `created_at` is not a time of RFC 3339.
    #[error("its created_at is not a time of RFC 3339")]
    CreatedAt,
    /// A text in it holds a control character, which could break out of a header line.
    #[error("it holds a control character")]
    ControlCharacter,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn classified(kind: ErrorKind, details: &'static str) -> RepositoryError {
        RedisFault::new("GET", &FredError::new(kind, details)).into()
    }

    #[rstest]
    #[case::readonly(
        ErrorKind::Unknown,
        "READONLY You can't write against a read only replica."
    )]
    #[case::loading(ErrorKind::Unknown, "LOADING Redis is loading the dataset in memory")]
    #[case::noperm(ErrorKind::Unknown, "NOPERM this user has no permissions")]
    #[case::misconf(
        ErrorKind::Unknown,
        "MISCONF Redis is configured to save RDB snapshots"
    )]
    #[case::noauth(ErrorKind::Auth, "NOAUTH Authentication required.")]
    #[case::clusterdown(ErrorKind::Cluster, "CLUSTERDOWN The cluster is down")]
    #[case::unknown_command(ErrorKind::Unknown, "ERR unknown command")]
    #[case::timeout(ErrorKind::Timeout, "Request timed out.")]
    #[case::canceled(ErrorKind::Canceled, "Connection closed unexpectedly.")]
    #[case::io(ErrorKind::IO, "Os { code: 104 }")]
    #[case::protocol(ErrorKind::Protocol, "bad frame")]
    #[case::parse(ErrorKind::Parse, "Could not convert to bytes.")]
    fn what_cannot_be_known_is_unavailable(#[case] kind: ErrorKind, #[case] details: &'static str) {
        let error = classified(kind, details);
        assert!(
            matches!(error, RepositoryError::Unavailable { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn out_of_memory_is_full() {
        let error = classified(
            ErrorKind::Unknown,
            "OOM command not allowed when used memory > x",
        );
        assert!(matches!(error, RepositoryError::Full { .. }), "{error:?}");
    }

    #[test]
    fn a_foreign_type_is_corrupt() {
        let error = classified(
            ErrorKind::InvalidArgument,
            "WRONGTYPE Operation against a key",
        );
        assert!(
            matches!(error, RepositoryError::Corrupt { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn a_reply_that_repeats_its_arguments_is_cut_to_its_code() {
        let details = "ERR unknown command 'GETX', with args beginning with: 'session:s3cret'";
        let fault = RedisFault::new("GET", &FredError::new(ErrorKind::Unknown, details));
        assert_eq!(fault.to_string(), "GET was refused by Redis: ERR");
    }
}
