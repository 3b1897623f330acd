//! Redis commands and their replies.

use std::fmt;

use bytes::Bytes;
use fred::types::Resp3Frame;

use crate::RedisFault;

/// Name of the probe key. Commands for the probe key check that Redis accepts reads and writes. No
/// session is ever stored under the probe key.
pub(crate) const PROBE_NAME: &str = "-probe-";

/// Maximum length of a value in a reply, in bytes. Every session record is shorter.
pub(super) const MAX_VALUE_LEN: usize = 1024 * 1024;

/// A Redis command with its arguments.
#[derive(Clone, Copy)]
pub(crate) struct Command<'a> {
    /// Name of the command in one or more words, such as `CONFIG GET`. Errors of the command
    /// contain this name.
    pub(crate) name: &'static str,
    pub(crate) arguments: &'a [&'a [u8]],
}

impl<'a> Command<'a> {
    pub(crate) const fn new(name: &'static str, arguments: &'a [&'a [u8]]) -> Self {
        Self { name, arguments }
    }
}

/// The reply of Redis to a command.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A status reply (simple string), such as `OK`.
    Status(Bytes),
    Bulk(Bytes),
    Integer(i64),
    Null,
    Error(Bytes),
    List(Vec<Self>),
    /// A reply of a type that this crate does not use, such as a map.
    Other,
}

impl From<Resp3Frame> for Reply {
    fn from(frame: Resp3Frame) -> Self {
        match frame {
            Resp3Frame::SimpleString { data, .. } => Self::Status(data),
            Resp3Frame::BlobString { data, .. } | Resp3Frame::VerbatimString { data, .. } => {
                Self::Bulk(data)
            }
            Resp3Frame::Number { data, .. } => Self::Integer(data),
            Resp3Frame::Null => Self::Null,
            Resp3Frame::SimpleError { data, .. } => Self::Error(data.into_inner()),
            Resp3Frame::BlobError { data, .. } => Self::Error(data),
            Resp3Frame::Array { data, .. } => {
                Self::List(data.into_iter().map(Self::from).collect())
            }
            _ => Self::Other,
        }
    }
}

/// Shows only the lengths of strings, because a string may be a session record and an error reply
/// may quote a key.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(text) => write!(f, "Status({} bytes)", text.len()),
            Self::Bulk(text) => write!(f, "Bulk({} bytes)", text.len()),
            Self::Integer(number) => write!(f, "Integer({number})"),
            Self::Null => f.write_str("Null"),
            Self::Error(text) => write!(f, "Error({} bytes)", text.len()),
            Self::List(items) => f.debug_tuple("List").field(items).finish(),
            Self::Other => f.write_str("Other"),
        }
    }
}

/// Conversions of a reply to the expected type. For an error reply or a reply of another type, the
/// methods with the parameter `command` return a [`RedisFault`] that contains this command name.
impl Reply {
    /// Returns the value of a bulk reply, or `None` for a null reply. Fails if the value is longer
    /// than [`MAX_VALUE_LEN`].
    pub(crate) fn bulk(self, command: &'static str) -> Result<Option<Bytes>, RedisFault> {
        match self {
            Self::Bulk(value) if value.len() > MAX_VALUE_LEN => Err(RedisFault::TooLong {
                command,
                length: value.len(),
            }),
            Self::Bulk(value) => Ok(Some(value)),
            Self::Null => Ok(None),
            other => Err(other.fault(command)),
        }
    }

    /// Returns the value of a bulk reply as text. Fails if the reply is null or is not valid UTF-8.
    pub(crate) fn text(self, command: &'static str) -> Result<String, RedisFault> {
        let text = self
            .bulk(command)?
            .ok_or(RedisFault::Unexpected { command });
        String::from_utf8(text?.into()).map_err(|_| RedisFault::Unexpected { command })
    }

    /// Returns the number of an integer reply.
    pub(crate) fn integer(self, command: &'static str) -> Result<i64, RedisFault> {
        match self {
            Self::Integer(number) => Ok(number),
            other => Err(other.fault(command)),
        }
    }

    /// Returns `true` for a status reply such as `OK`, and `false` for a null reply.
    pub(crate) fn done(self, command: &'static str) -> Result<bool, RedisFault> {
        match self {
            Self::Status(_) => Ok(true),
            Self::Null => Ok(false),
            other => Err(other.fault(command)),
        }
    }

    /// Returns the items of a list reply.
    pub(crate) fn list(self, command: &'static str) -> Result<Vec<Self>, RedisFault> {
        match self {
            Self::List(list) => Ok(list),
            other => Err(other.fault(command)),
        }
    }

    /// Returns the reply unchanged. Fails if it is an error reply.
    pub(crate) fn any(self, command: &'static str) -> Result<Self, RedisFault> {
        match self {
            Self::Error(_) => Err(self.fault(command)),
            other => Ok(other),
        }
    }

    /// Returns the text of a bulk or status reply. Returns `None` if the reply has another type or
    /// is not valid UTF-8.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Bulk(text) | Self::Status(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// Returns the number in the reply: the value of an integer reply, or the number that a bulk or
    /// status reply contains as text. Returns `None` for any other reply.
    pub(crate) fn as_number(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => self.as_text()?.parse().ok(),
        }
    }

    fn fault(self, command: &'static str) -> RedisFault {
        match self {
            Self::Error(text) => RedisFault::refusal(command, &String::from_utf8_lossy(&text)),
            _ => RedisFault::Unexpected { command },
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn bulk(text: &'static str) -> Reply {
        Reply::Bulk(text.into())
    }

    #[test]
    fn debug_output_of_a_reply_shows_lengths_but_no_text() {
        let error = Reply::Error(Bytes::from_static(b"ERR s3cret"));
        let reply = Reply::List(vec![bulk("s3cret"), error]);
        assert_eq!(
            format!("{reply:?}"),
            "List([Bulk(6 bytes), Error(10 bytes)])"
        );
    }

    #[rstest]
    #[case::null_reply_means_no_value(Reply::Null, Ok(None))]
    #[case::value(bulk("a"), Ok(Some("a".into())))]
    #[case::value_of_1_mib(
        Reply::Bulk(vec![0; MAX_VALUE_LEN].into()),
        Ok(Some(vec![0; MAX_VALUE_LEN].into()))
    )]
    #[case::value_longer_than_1_mib_fails(
        Reply::Bulk(vec![0; MAX_VALUE_LEN + 1].into()),
        Err(RedisFault::TooLong { command: "GET", length: MAX_VALUE_LEN + 1 })
    )]
    #[case::status_reply_fails(
        Reply::Status("OK".into()),
        Err(RedisFault::Unexpected { command: "GET" })
    )]
    fn reply_to_get_must_be_null_or_a_value_of_at_most_1_mib(
        #[case] reply: Reply,
        #[case] expected: Result<Option<Bytes>, RedisFault>,
    ) {
        assert_eq!(reply.bulk("GET"), expected);
    }
}
