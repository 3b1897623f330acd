//! What Redis answers, and what that is good for.

use std::fmt;

use crate::RedisFault;

/// What Redis answers, or tells without being asked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A word such as `OK`.
    Status(Vec<u8>),
    Bulk(Vec<u8>),
    /// A text of so many bytes, which was not kept.
    TooLong(usize),
    Integer(i64),
    Null,
    Error(Vec<u8>),
    /// A list; a map as its keys and values in turn.
    List(Vec<Self>),
    /// What nobody asked for: `invalidate` and the keys that changed.
    Push(Vec<Self>),
}

/// Texts may be records, and names of keys tokens: of both only the length is shown.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(text) => write!(f, "Status({} bytes)", text.len()),
            Self::Bulk(text) => write!(f, "Bulk({} bytes)", text.len()),
            Self::TooLong(length) => write!(f, "TooLong({length} bytes)"),
            Self::Integer(number) => write!(f, "Integer({number})"),
            Self::Null => f.write_str("Null"),
            Self::Error(text) => write!(f, "Error({} bytes)", text.len()),
            Self::List(items) => f.debug_tuple("List").field(items).finish(),
            Self::Push(items) => f.debug_tuple("Push").field(items).finish(),
        }
    }
}

/// What a reply to `command` is good for; an error, and what `command` does not answer with, is a
/// fault.
impl Reply {
    /// A text, if there is one.
    pub(crate) fn bulk(self, command: &'static str) -> Result<Option<Vec<u8>>, RedisFault> {
        match self {
            Self::Bulk(text) => Ok(Some(text)),
            Self::Null => Ok(None),
            other => Err(other.fault(command)),
        }
    }

    pub(crate) fn text(self, command: &'static str) -> Result<String, RedisFault> {
        let text = self
            .bulk(command)?
            .ok_or(RedisFault::Unexpected { command });
        String::from_utf8(text?).map_err(|_| RedisFault::Unexpected { command })
    }

    pub(crate) fn integer(self, command: &'static str) -> Result<i64, RedisFault> {
        match self {
            Self::Integer(number) => Ok(number),
            other => Err(other.fault(command)),
        }
    }

    /// A word such as `OK`: `false` when nothing was done.
    pub(crate) fn done(self, command: &'static str) -> Result<bool, RedisFault> {
        match self {
            Self::Status(_) => Ok(true),
            Self::Null => Ok(false),
            other => Err(other.fault(command)),
        }
    }

    pub(crate) fn list(self, command: &'static str) -> Result<Vec<Self>, RedisFault> {
        match self {
            Self::List(list) => Ok(list),
            other => Err(other.fault(command)),
        }
    }

    /// Whatever it is, as long as it is no error.
    pub(crate) fn any(self, command: &'static str) -> Result<Self, RedisFault> {
        match self {
            Self::Error(_) => Err(self.fault(command)),
            other => Ok(other),
        }
    }

    /// Texts of a list as they are.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Bulk(text) | Self::Status(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// Some numbers come as texts.
    pub(crate) fn as_number(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => self.as_text()?.parse().ok(),
        }
    }

    fn fault(self, command: &'static str) -> RedisFault {
        match self {
            Self::Error(text) => RedisFault::refusal(command, &String::from_utf8_lossy(&text)),
            Self::TooLong(length) => RedisFault::TooLong { command, length },
            _ => RedisFault::Unexpected { command },
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.into())
    }

    #[test]
    fn debug_shows_no_text() {
        let reply = Reply::List(vec![bulk("s3cret"), Reply::Error(b"ERR s3cret".into())]);
        assert_eq!(
            format!("{reply:?}"),
            "List([Bulk(6 bytes), Error(10 bytes)])"
        );
    }

    #[rstest]
    #[case::null(Reply::Null, Ok(None))]
    #[case::text(bulk("a"), Ok(Some(b"a".to_vec())))]
    #[case::another_commands(Reply::Status(b"OK".into()), Err(RedisFault::Unexpected { command: "GET" }))]
    #[case::too_long(Reply::TooLong(7), Err(RedisFault::TooLong { command: "GET", length: 7 }))]
    fn only_a_text_or_nothing_is_an_answer_to_get(
        #[case] reply: Reply,
        #[case] expected: Result<Option<Vec<u8>>, RedisFault>,
    ) {
        assert_eq!(reply.bulk("GET"), expected);
    }
}
