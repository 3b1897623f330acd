//! A command, and the reply of Redis to it.

use std::fmt;

use bytes::Bytes;
use fred::types::Resp3Frame;

use crate::RedisFault;

/// Largest value of a reply that is used, in bytes. No record is as large.
pub(super) const MAX_VALUE_LEN: usize = 1024 * 1024;

/// A command with its arguments.
#[derive(Clone, Copy)]
pub(crate) struct Command<'a> {
    /// One or several words. Errors name the command by it as well.
    pub(crate) name: &'static str,
    pub(crate) arguments: &'a [&'a [u8]],
}

impl<'a> Command<'a> {
    pub(crate) const fn new(name: &'static str, arguments: &'a [&'a [u8]]) -> Self {
        Self { name, arguments }
    }
}

/// The reply to a command.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A word such as `OK`.
    Status(Bytes),
    Bulk(Bytes),
    Integer(i64),
    Null,
    Error(Bytes),
    List(Vec<Self>),
    /// A reply of a type that no command of this crate is answered with.
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

/// Shows only the length of texts: they may be records, and names of keys may be tokens.
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

/// Conversions to what `command` is answered with. An error, and any other type, is a fault.
impl Reply {
    /// Returns the value, if there is one.
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

    /// Returns the value as text.
    pub(crate) fn text(self, command: &'static str) -> Result<String, RedisFault> {
        let text = self
            .bulk(command)?
            .ok_or(RedisFault::Unexpected { command });
        String::from_utf8(text?.into()).map_err(|_| RedisFault::Unexpected { command })
    }

    /// Returns the number.
    pub(crate) fn integer(self, command: &'static str) -> Result<i64, RedisFault> {
        match self {
            Self::Integer(number) => Ok(number),
            other => Err(other.fault(command)),
        }
    }

    /// Returns `true` for a word such as `OK`, and `false` if nothing was done.
    pub(crate) fn done(self, command: &'static str) -> Result<bool, RedisFault> {
        match self {
            Self::Status(_) => Ok(true),
            Self::Null => Ok(false),
            other => Err(other.fault(command)),
        }
    }

    /// Returns the items of a list.
    pub(crate) fn list(self, command: &'static str) -> Result<Vec<Self>, RedisFault> {
        match self {
            Self::List(list) => Ok(list),
            other => Err(other.fault(command)),
        }
    }

    /// Returns any reply that is not an error.
    pub(crate) fn any(self, command: &'static str) -> Result<Self, RedisFault> {
        match self {
            Self::Error(_) => Err(self.fault(command)),
            other => Ok(other),
        }
    }

    /// Returns the text of a value or a word.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Bulk(text) | Self::Status(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// Returns the number, which some commands reply with as text.
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
    fn debug_shows_no_text() {
        let error = Reply::Error(Bytes::from_static(b"ERR s3cret"));
        let reply = Reply::List(vec![bulk("s3cret"), error]);
        assert_eq!(
            format!("{reply:?}"),
            "List([Bulk(6 bytes), Error(10 bytes)])"
        );
    }

    #[rstest]
    #[case::null(Reply::Null, Ok(None))]
    #[case::text(bulk("a"), Ok(Some("a".into())))]
    #[case::longest(Reply::Bulk(vec![0; MAX_VALUE_LEN].into()), Ok(Some(vec![0; MAX_VALUE_LEN].into())))]
    #[case::too_long(
        Reply::Bulk(vec![0; MAX_VALUE_LEN + 1].into()),
        Err(RedisFault::TooLong { command: "GET", length: MAX_VALUE_LEN + 1 })
    )]
    #[case::reply_to_another_command(
        Reply::Status("OK".into()),
        Err(RedisFault::Unexpected { command: "GET" })
    )]
    fn only_a_value_or_null_is_a_reply_to_get(
        #[case] reply: Reply,
        #[case] expected: Result<Option<Bytes>, RedisFault>,
    ) {
        assert_eq!(reply.bulk("GET"), expected);
    }
}
