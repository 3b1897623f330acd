//! What Redis or the way to it did wrong, classified in one place.

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
    /// Redis answered with a text that is longer than any session's record.
    #[error("{command} got {length} bytes from Redis, which is more than any record has")]
    TooLong {
        /// The command.
        command: &'static str,
        /// Of the text, in bytes.
        length: usize,
    },
    /// Redis answered with something that the command does not answer with.
    #[error("{command} got an answer of an unexpected type from Redis")]
    Unexpected {
        /// The command.
        command: &'static str,
    },
}

impl RedisFault {
    /// Redis refused `command` with an error of this text.
    pub(crate) fn refusal(command: &'static str, text: &str) -> Self {
        match redirection(text) {
            Some((to, is_ask)) => Self::Redirected {
                command,
                to,
                is_ask,
            },
            None => Self::Refused {
                command,
                code: code_of(text).unwrap_or(NO_CODE).to_owned(),
            },
        }
    }

    /// Returns `true` if `text` is an error that Redis sent: its first word is a code.
    pub(crate) fn has_code(text: &str) -> bool {
        code_of(text).is_some()
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

/// Stands in for the text of an error without a code, which may quote what was sent.
const NO_CODE: &str = "an error without a code";

/// Returns the code that begins an error reply: a word of capital letters.
fn code_of(text: &str) -> Option<&str> {
    let word = text.split_whitespace().next()?;
    let is_code = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code.then_some(word)
}

/// A call failed. It becomes a [`RepositoryError`] where the call leaves this crate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Redis(#[from] RedisFault),
    #[error(transparent)]
    Corrupt(#[from] CorruptRecord),
    /// A rollback is under way: the session is alive, for instances that are newer than this one.
    #[error("the record has version {version}, written by a newer release")]
    Newer { version: u8 },
}

impl CallError {
    /// Returns `true` if the value that is stored under the key is no session's record.
    pub(crate) fn is_corrupt(&self) -> bool {
        match self {
            Self::Corrupt(_) | Self::Redis(RedisFault::TooLong { .. }) => true,
            _ => self.has_code("WRONGTYPE"),
        }
    }

    /// Returns `true` if Redis replied with this code.
    pub(crate) fn has_code(&self, expected: &str) -> bool {
        matches!(self, Self::Redis(RedisFault::Refused { code, .. }) if code == expected)
    }
}

impl From<CallError> for RepositoryError {
    fn from(error: CallError) -> Self {
        let (is_corrupt, is_full) = (error.is_corrupt(), error.has_code("OOM"));
        match error {
            CallError::Corrupt(record) => Self::corrupt(record),
            newer @ CallError::Newer { .. } => Self::newer_record(newer),
            CallError::Redis(fault) if is_corrupt => Self::corrupt(fault),
            CallError::Redis(fault) if is_full => Self::full(fault),
            CallError::Redis(fault) => Self::unavailable(fault),
        }
    }
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

    fn refused(text: &str) -> RepositoryError {
        CallError::Redis(RedisFault::refusal("GET", text)).into()
    }

    #[rstest]
    #[case::readonly("READONLY You can't write against a read only replica.")]
    #[case::loading("LOADING Redis is loading the dataset in memory")]
    #[case::noperm("NOPERM this user has no permissions")]
    #[case::misconf("MISCONF Redis is configured to save RDB snapshots")]
    #[case::noauth("NOAUTH Authentication required.")]
    #[case::clusterdown("CLUSTERDOWN The cluster is down")]
    #[case::unknown_command("ERR unknown command")]
    #[case::no_code("something else")]
    #[case::nothing("")]
    fn what_cannot_be_known_is_unavailable(#[case] text: &str) {
        let error = refused(text);
        assert!(
            matches!(error, RepositoryError::Unavailable { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn out_of_memory_is_full() {
        let error = refused("OOM command not allowed when used memory > x");
        assert!(matches!(error, RepositoryError::Full { .. }), "{error:?}");
    }

    #[rstest]
    #[case::type_of_another(RedisFault::refusal("GET", "WRONGTYPE Operation against a key"))]
    #[case::longer_than_any_record(RedisFault::TooLong { command: "GET", length: 2_000_000 })]
    fn what_no_session_can_be_is_corrupt(#[case] fault: RedisFault) {
        let error = RepositoryError::from(CallError::Redis(fault));
        assert!(
            matches!(error, RepositoryError::Corrupt { .. }),
            "{error:?}"
        );
    }

    #[rstest]
    #[case::moved("MOVED 3999 127.0.0.1:6381", "127.0.0.1:6381", false)]
    #[case::ask("ASK 3999 :6381", ":6381", true)]
    fn redirections_tell_where_to(#[case] text: &str, #[case] to: &str, #[case] is_ask: bool) {
        let expected = RedisFault::Redirected {
            command: "GET",
            to: to.to_owned(),
            is_ask,
        };
        assert_eq!(RedisFault::refusal("GET", text), expected);
    }

    #[rstest]
    #[case::arguments(
        "ERR unknown command 'GETX', with args beginning with: 'session:s3cret'",
        "GET was refused by Redis: ERR"
    )]
    #[case::no_code("s3cret", "GET was refused by Redis: an error without a code")]
    fn a_reply_that_repeats_its_arguments_is_cut_to_its_code(
        #[case] text: &str,
        #[case] shown: &str,
    ) {
        assert_eq!(RedisFault::refusal("GET", text).to_string(), shown);
    }
}
