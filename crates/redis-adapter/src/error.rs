//! Errors of Redis commands and of connections to Redis, and their conversion to
//! [`RepositoryError`].

use tee_session_domain::RepositoryError;
use thiserror::Error;

/// Fault of a Redis command: the command failed or could not be sent.
///
/// A fault contains no key and no value. From an error reply of Redis, a fault contains only the
/// code (`OOM`, `NOPERM`, ...), because the text of some error replies repeats arguments of the
/// command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedisFault {
    /// The command was not sent, because there is no connection to Redis. A new connection is being
    /// established in the background.
    #[error("{command} not sent: not connected to Redis")]
    NotConnected {
        /// Name of the command that was not sent.
        command: &'static str,
    },
    /// The command was not sent, because the circuit breaker is open: the last commands got no
    /// reply. A background probe checks whether Redis replies again.
    #[error(
        "{command} not sent: the circuit breaker is open, Redis did not reply to the last commands"
    )]
    CircuitOpen {
        /// Name of the command that was not sent.
        command: &'static str,
    },
    /// No reply arrived before the deadline. If the command was a write, Redis may have carried it
    /// out.
    #[error("{command} timed out: no reply from Redis")]
    TimedOut {
        /// Name of the command that got no reply.
        command: &'static str,
    },
    /// The connection was closed before the reply arrived. If the command was a write, Redis may
    /// have carried it out.
    #[error("{command} lost its connection to Redis: {reason}")]
    Disconnected {
        /// Name of the command that got no reply.
        command: &'static str,
        /// Reason why the connection was closed.
        reason: String,
    },
    /// Redis replied with an error other than a redirection.
    #[error("{command} was refused by Redis: {code}")]
    Refused {
        /// Name of the command that Redis rejected.
        command: &'static str,
        /// Code of the error reply, such as `NOPERM`. For a command that Redis does not know, the
        /// code is `ERR unknown command`.
        code: String,
    },
    /// The server belongs to a Redis Cluster, and redirected the command (MOVED or ASK), because
    /// another server has the key. The command was not carried out.
    #[error("{command} was redirected to {to}: the server belongs to a Redis Cluster")]
    Redirected {
        /// Name of the command that was redirected.
        command: &'static str,
        /// Address of the server that the redirection names, as `host:port`.
        to: String,
        /// `true` for ASK, and `false` for MOVED. ASK means that the hash slot of the key is moving
        /// to the server `to`. Only this command must be sent to that server, preceded by ASKING.
        is_ask: bool,
    },
    /// Redis replied with a string that is longer than any session record.
    #[error("{command} returned {length} bytes from Redis, more than any session record has")]
    TooLong {
        /// Name of the command to which Redis replied.
        command: &'static str,
        /// Length of the string in the reply, in bytes.
        length: usize,
    },
    /// Redis replied with a value of a type that the command never returns.
    #[error("{command} got a reply of an unexpected type from Redis")]
    Unexpected {
        /// Name of the command to which Redis replied.
        command: &'static str,
    },
}

impl RedisFault {
    /// Returns the fault for an error reply to `command`. `text` is the text of the reply. The
    /// fault is [`Self::Redirected`] for MOVED and ASK, and [`Self::Refused`] for all other errors.
    pub(crate) fn refusal(command: &'static str, text: &str) -> Self {
        match redirection(text) {
            Some((to, is_ask)) => Self::Redirected {
                command,
                to,
                is_ask,
            },
            None => Self::Refused {
                command,
                code: refusal_code(text).to_owned(),
            },
        }
    }

    /// Returns `true` if `text` begins with an error code, such as `OOM`. An error with a code was
    /// sent by Redis and not created by the Redis client library.
    pub(crate) fn has_code(text: &str) -> bool {
        code_of(text).is_some()
    }
}

/// Parses `MOVED slot host:port` or `ASK slot host:port`. Returns `host:port`, and a flag that is
/// `true` for `ASK`. Returns `None` if `details` is no redirection.
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

/// Text that is used instead of the code if an error reply has no code. The text of such a reply is
/// dropped, because it may repeat arguments of the command.
const NO_CODE: &str = "an error without a code";

/// Error code of the reply to a command for which the Redis user lacks a permission.
pub(crate) const NO_PERMISSION: &str = "NOPERM";

/// Error code of the reply to a command that the server does not know: the command was renamed, or
/// the server is a sentinel or another program.
pub(crate) const UNKNOWN_COMMAND: &str = "ERR unknown command";

/// Returns the error code of an error reply other than `MOVED` and `ASK`, or [`NO_CODE`].
///
/// Redis 7.0 sends `NOPERM` only for commands outside scripts. If a command in a script is not
/// permitted or not known, the reply begins with `ERR`. The text after `ERR` then decides which
/// code is returned.
fn refusal_code(text: &str) -> &str {
    let begins_with = |beginning: &str| {
        let found = text.get(..beginning.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(beginning))
    };
    if begins_with("ERR The user executing the script can't ") {
        NO_PERMISSION
    } else if begins_with("ERR unknown command") || begins_with("ERR Unknown Redis command") {
        UNKNOWN_COMMAND
    } else {
        code_of(text).unwrap_or(NO_CODE)
    }
}

/// Returns the code at the beginning of an error reply: a word of at least three capital letters.
/// Returns `None` if there is no such word.
fn code_of(text: &str) -> Option<&str> {
    let word = text.split_whitespace().next()?;
    let is_code = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code.then_some(word)
}

/// Error of a call to Redis. Public functions of this crate convert this error to a
/// [`RepositoryError`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Redis(#[from] RedisFault),
    #[error(transparent)]
    Corrupt(#[from] CorruptRecord),
    /// A newer release of this service wrote the record, and this release cannot read it. This
    /// happens after a rollback to an older release.
    #[error("the record has version {version}, written by a newer release")]
    Newer { version: u8 },
}

impl CallError {
    /// Returns `true` if the error means that the value under the Redis key of a session is not a
    /// session record.
    pub(crate) fn is_corrupt(&self) -> bool {
        match self {
            Self::Corrupt(_) | Self::Redis(RedisFault::TooLong { .. }) => true,
            _ => self.has_code("WRONGTYPE"),
        }
    }

    /// Returns `true` if Redis refused a command because a permission or the command is missing.
    pub(crate) fn is_misconfiguration(&self) -> bool {
        self.has_code(NO_PERMISSION) || self.has_code(UNKNOWN_COMMAND)
    }

    /// Returns `true` if Redis replied with the error code `expected`.
    pub(crate) fn has_code(&self, expected: &str) -> bool {
        matches!(self, Self::Redis(RedisFault::Refused { code, .. }) if code == expected)
    }
}

impl From<CallError> for RepositoryError {
    fn from(error: CallError) -> Self {
        let (is_corrupt, is_full) = (error.is_corrupt(), error.has_code("OOM"));
        let is_misconfiguration = error.is_misconfiguration();
        match error {
            CallError::Corrupt(record) => Self::corrupt(record),
            newer @ CallError::Newer { .. } => Self::newer_record(newer),
            CallError::Redis(fault) if is_corrupt => Self::corrupt(fault),
            CallError::Redis(fault) if is_full => Self::full(fault),
            CallError::Redis(fault) if is_misconfiguration => Self::misconfigured(fault),
            CallError::Redis(fault) => Self::unavailable(fault),
        }
    }
}

/// Error: the value under the Redis key of a session is not a valid session record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CorruptRecord {
    /// The value is longer than any session record.
    #[error("the record is longer than {limit} bytes")]
    TooLong {
        /// Maximum length of a session record, in bytes.
        limit: usize,
    },
    /// The value cannot be parsed as a session record.
    #[error("the record does not contain cookies, base_url and created_at")]
    NotASession,
    /// The value is not a sealed (encrypted) record: it does not begin with the magic bytes and a
    /// known version, or it is too short.
    #[error("the value is not a sealed record")]
    NotSealed,
    /// The sealed (encrypted) record cannot be decrypted: it was changed, or it belongs to another
    /// session.
    #[error("the sealed record cannot be decrypted: it was changed or belongs to another key")]
    DoesNotOpen,
    /// The member `created_at` of the record is not an RFC 3339 time.
    #[error("created_at of the record is not an RFC 3339 time")]
    CreatedAt,
    /// A string in the record contains a control character. In an HTTP header, such a character
    /// could begin a new header line.
    #[error("the record contains a control character")]
    ControlCharacter,
}

/// Error: the index of the sessions of a subject contains data that this service did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CorruptIndex {
    /// A key of the index does not have the expected Redis type.
    #[error("a key of the index does not have the expected Redis type")]
    KeyType,
    /// The position of an index entry or of a revocation is not a time in microseconds, or the name
    /// of an entry is not ASCII text.
    #[error("a value in the index was not written by this service")]
    Value,
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
    #[case::misconf("MISCONF Redis is configured to save RDB snapshots")]
    #[case::noauth("NOAUTH Authentication required.")]
    #[case::clusterdown("CLUSTERDOWN The cluster is down")]
    #[case::syntax("ERR syntax error")]
    #[case::error_without_code("something else")]
    #[case::empty_error("")]
    fn error_reply_other_than_oom_or_misconfiguration_becomes_an_unavailable_error(
        #[case] text: &str,
    ) {
        let error = refused(text);
        assert!(
            matches!(error, RepositoryError::Unavailable { .. }),
            "{error:?}"
        );
    }

    #[rstest]
    #[case::command("NOPERM this user has no permissions to run the 'get' command")]
    #[case::key("NOPERM No permissions to access a key")]
    #[case::command_in_a_script(
        "ERR The user executing the script can't run this command or subcommand script: 9fa6, on \
         @user_script:2."
    )]
    #[case::key_in_a_script(
        "ERR The user executing the script can't access at least one of the keys mentioned in the \
         command arguments script: 2c4b, on @user_script:2."
    )]
    #[case::unknown_command("ERR unknown command 'EVAL', with args beginning with: 's3cret'")]
    #[case::unknown_command_in_a_script(
        "ERR Unknown Redis command called from script script: 6827, on @user_script:2."
    )]
    fn missing_permission_or_command_becomes_a_misconfigured_error(#[case] text: &str) {
        let error = refused(text);
        assert!(
            matches!(error, RepositoryError::Misconfigured { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn oom_error_reply_becomes_a_store_full_error() {
        let error = refused("OOM command not allowed when used memory > x");
        assert!(matches!(error, RepositoryError::Full { .. }), "{error:?}");
    }

    #[rstest]
    #[case::wrong_key_type(RedisFault::refusal("GET", "WRONGTYPE Operation against a key"))]
    #[case::reply_too_long(RedisFault::TooLong { command: "GET", length: 2_000_000 })]
    fn wrong_key_type_and_too_long_value_become_a_corrupt_record_error(#[case] fault: RedisFault) {
        let error = RepositoryError::from(CallError::Redis(fault));
        assert!(
            matches!(error, RepositoryError::Corrupt { .. }),
            "{error:?}"
        );
    }

    #[rstest]
    #[case::moved("MOVED 3999 127.0.0.1:6381", "127.0.0.1:6381", false)]
    #[case::ask("ASK 3999 :6381", ":6381", true)]
    fn moved_and_ask_replies_become_a_redirection_to_the_target_server(
        #[case] text: &str,
        #[case] to: &str,
        #[case] is_ask: bool,
    ) {
        let expected = RedisFault::Redirected {
            command: "GET",
            to: to.to_owned(),
            is_ask,
        };
        assert_eq!(RedisFault::refusal("GET", text), expected);
    }

    #[rstest]
    #[case::repeats_arguments(
        "ERR unknown command 'GETX', with args beginning with: 'session:s3cret'",
        "GET was refused by Redis: ERR unknown command"
    )]
    #[case::repeats_a_key("ERR invalid key 's3cret'", "GET was refused by Redis: ERR")]
    #[case::no_code("s3cret", "GET was refused by Redis: an error without a code")]
    fn fault_for_an_error_reply_contains_only_the_error_code(
        #[case] text: &str,
        #[case] shown: &str,
    ) {
        assert_eq!(RedisFault::refusal("GET", text).to_string(), shown);
    }
}
