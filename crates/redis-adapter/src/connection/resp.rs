//! RESP, the protocol of Redis: how commands are written and replies are read, versions 2 and 3.
//!
//! Nothing that comes in is trusted: lengths are bounded before anything is made for them, and what
//! does not follow the protocol to the letter is [`Malformed`].

use std::fmt;

use crate::RedisFault;

/// A longer text is not kept: no session is as long, and nothing else that is asked for.
const MAX_TEXT_LEN: usize = 1024 * 1024;

/// A longer line is none: lines hold a length, a number, or a short text.
const MAX_LINE_LEN: usize = 64 * 1024;

/// Lists in lists go no deeper: CLUSTER SLOTS takes four.
const MAX_DEPTH: usize = 8;

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

/// What came in is not RESP, or more of it than anything here asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what came in is no reply")]
pub(crate) struct Malformed;

/// Appends a command to `out`; a `name` of several words is as many arguments.
pub(super) fn write_command(out: &mut Vec<u8>, name: &str, arguments: &[&[u8]]) {
    let words = name.split(' ').map(str::as_bytes);
    write_length(out, b'*', words.clone().count() + arguments.len());
    for argument in words.chain(arguments.iter().copied()) {
        write_length(out, b'$', argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Reads the first reply of `input`, and tells its length, which is beyond the end of `input` for a
/// reply that is too long to be kept. `None`: its end has not come yet.
pub(crate) fn read_reply(input: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let mut rest = Rest { input, read: 0 };
    let reply = rest.reply(0)?;
    Ok(reply.map(|reply| (reply, rest.read)))
}

/// What is not read yet.
struct Rest<'a> {
    input: &'a [u8],
    read: usize,
}

impl<'a> Rest<'a> {
    fn reply(&mut self, depth: usize) -> Result<Option<Reply>, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed);
        }
        let Some(line) = self.line()? else {
            return Ok(None);
        };
        let (kind, line) = line.split_first().ok_or(Malformed)?;
        let reply = match kind {
            b'+' | b',' | b'(' => Reply::Status(line.to_vec()),
            b'-' => Reply::Error(line.to_vec()),
            b':' => Reply::Integer(number(line)?),
            b'#' if line == b"t" => Reply::Integer(1),
            b'#' if line == b"f" => Reply::Integer(0),
            b'_' if line.is_empty() => Reply::Null,
            b'$' | b'*' if line == b"-1" => Reply::Null,
            b'$' => return self.text(length(line)?, depth, Reply::Bulk),
            b'!' => return self.text(length(line)?, depth, Reply::Error),
            // Its first four bytes name a format.
            b'=' => {
                return self.text(length(line)?, depth, |text| {
                    Reply::Bulk(text.get(4..).unwrap_or_default().to_vec())
                });
            }
            b'*' | b'~' => return self.list(length(line)?, depth, Reply::List),
            b'>' => return self.list(length(line)?, depth, Reply::Push),
            b'%' => return self.list(twice(length(line)?)?, depth, Reply::List),
            // Says something of the reply that follows, which nobody here wants to know.
            b'|' => {
                let said = self.list(twice(length(line)?)?, depth, Reply::List)?;
                return if said.is_some() {
                    self.reply(depth + 1)
                } else {
                    Ok(None)
                };
            }
            _ => return Err(Malformed),
        };
        Ok(Some(reply))
    }

    fn text(
        &mut self,
        length: usize,
        depth: usize,
        kind: impl FnOnce(Vec<u8>) -> Reply,
    ) -> Result<Option<Reply>, Malformed> {
        let end = self.read.checked_add(length).ok_or(Malformed)?;
        if length > MAX_TEXT_LEN {
            // In a list it would have to be read to find what follows.
            if depth > 0 {
                return Err(Malformed);
            }
            self.read = end.checked_add(2).ok_or(Malformed)?;
            return Ok(Some(Reply::TooLong(length)));
        }
        let Some(text) = self.input.get(self.read..end + 2) else {
            return Ok(None);
        };
        let text = text.strip_suffix(b"\r\n").ok_or(Malformed)?;
        self.read = end + 2;
        Ok(Some(kind(text.to_vec())))
    }

    fn list(
        &mut self,
        length: usize,
        depth: usize,
        kind: impl FnOnce(Vec<Reply>) -> Reply,
    ) -> Result<Option<Reply>, Malformed> {
        // A length costs the sender nothing.
        let mut items = Vec::with_capacity(length.min(64));
        for _ in 0..length {
            let Some(item) = self.reply(depth + 1)? else {
                return Ok(None);
            };
            items.push(item);
        }
        Ok(Some(kind(items)))
    }

    /// Up to the next line break, without it.
    fn line(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let rest = &self.input[self.read..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            return if rest.len() > MAX_LINE_LEN {
                Err(Malformed)
            } else {
                Ok(None)
            };
        };
        let line = rest[..end].strip_suffix(b"\r").ok_or(Malformed)?;
        if line.len() > MAX_LINE_LEN || line.contains(&b'\r') {
            return Err(Malformed);
        }
        self.read += end + 1;
        Ok(Some(line))
    }
}

fn number(line: &[u8]) -> Result<i64, Malformed> {
    let text = std::str::from_utf8(line).map_err(|_| Malformed)?;
    text.parse().map_err(|_| Malformed)
}

fn length(line: &[u8]) -> Result<usize, Malformed> {
    usize::try_from(number(line)?).map_err(|_| Malformed)
}

fn twice(length: usize) -> Result<usize, Malformed> {
    length.checked_mul(2).ok_or(Malformed)
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
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.into())
    }

    #[test]
    fn a_command_is_a_list_of_its_words_and_arguments() {
        let mut out = b"before ".to_vec();
        write_command(&mut out, "CLIENT TRACKING", &[b"ON", b"a\r\nb"]);
        assert_eq!(
            out,
            b"before *4\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n$4\r\na\r\nb\r\n"
        );
    }

    #[rstest]
    #[case::status(b"+OK\r\n", Reply::Status(b"OK".into()))]
    #[case::error(b"-ERR no\r\n", Reply::Error(b"ERR no".into()))]
    #[case::long_error(b"!6\r\nERR no\r\n", Reply::Error(b"ERR no".into()))]
    #[case::integer(b":-42\r\n", Reply::Integer(-42))]
    #[case::yes(b"#t\r\n", Reply::Integer(1))]
    #[case::no(b"#f\r\n", Reply::Integer(0))]
    #[case::bulk(b"$5\r\na\r\n-b\r\n", bulk("a\r\n-b"))]
    #[case::empty(b"$0\r\n\r\n", bulk(""))]
    #[case::verbatim(b"=7\r\ntxt:abc\r\n", bulk("abc"))]
    #[case::null_of_version_2(b"$-1\r\n", Reply::Null)]
    #[case::null_list_of_version_2(b"*-1\r\n", Reply::Null)]
    #[case::null(b"_\r\n", Reply::Null)]
    #[case::list(b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n", Reply::List(vec![Reply::Integer(1), Reply::List(vec![bulk("a")])]))]
    #[case::set(b"~1\r\n:1\r\n", Reply::List(vec![Reply::Integer(1)]))]
    #[case::map(b"%1\r\n+a\r\n:1\r\n", Reply::List(vec![Reply::Status(b"a".into()), Reply::Integer(1)]))]
    #[case::push(b">2\r\n$10\r\ninvalidate\r\n_\r\n", Reply::Push(vec![bulk("invalidate"), Reply::Null]))]
    #[case::attributes(b"|1\r\n+a\r\n:1\r\n:7\r\n", Reply::Integer(7))]
    #[case::double(b",1.5\r\n", Reply::Status(b"1.5".into()))]
    fn replies(#[case] input: &[u8], #[case] expected: Reply) {
        let followed = [input, b"+NEXT\r\n"].concat();
        assert_eq!(read_reply(&followed), Ok(Some((expected, input.len()))));
        for end in 0..input.len() {
            assert_eq!(read_reply(&input[..end]), Ok(None), "{end} bytes of it");
        }
    }

    #[rstest]
    #[case::no_kind(b"\r\n")]
    #[case::unknown_kind(b"@1\r\n")]
    #[case::line_feed_alone(b"+OK\n")]
    #[case::carriage_return_within(b"+O\rK\r\n")]
    #[case::no_number(b":x\r\n")]
    #[case::no_length(b"$x\r\n")]
    #[case::negative_length(b"$-2\r\n")]
    #[case::longer_than_it_says(b"$1\r\nabc\r\n")]
    #[case::streamed(b"$?\r\n")]
    #[case::no_boolean(b"#x\r\n")]
    #[case::no_null(b"_x\r\n")]
    #[case::longest(b"$9223372036854775807\r\n")]
    #[case::too_long_within_a_list(b"*1\r\n$1048577\r\n")]
    #[case::most_pairs(b"%9223372036854775807\r\n")]
    fn what_is_no_reply(#[case] input: &[u8]) {
        if input.starts_with(b"$9") {
            // Longer than memory, and yet only skipped: its end would never come.
            assert!(matches!(
                read_reply(input),
                Ok(Some((Reply::TooLong(_), _)))
            ));
        } else if input.starts_with(b"%9") {
            assert_eq!(read_reply(input), Ok(None));
        } else {
            assert_eq!(read_reply(input), Err(Malformed));
        }
    }

    #[test]
    fn what_is_too_long_is_told_by_its_head_alone() {
        let head = b"$1048577\r\n";
        let skipped = head.len() + 1_048_577 + 2;
        assert_eq!(
            read_reply(head),
            Ok(Some((Reply::TooLong(1_048_577), skipped)))
        );
    }

    #[test]
    fn lists_have_a_depth_and_lines_a_length() {
        assert_eq!(read_reply(&b"*1\r\n".repeat(100)), Err(Malformed));
        assert_eq!(read_reply(&b"+".repeat(MAX_LINE_LEN + 2)), Err(Malformed));
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

    proptest! {
        #[test]
        fn whatever_comes_in_is_read_without_a_panic(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_reply(&input);
        }

        #[test]
        fn what_nearly_is_a_reply_is_read_without_a_panic(input in "([*$:+%>~|=!-](-1|[0-9]{1,3}|[a-z]{0,3})\r\n){1,12}") {
            if let Ok(Some((_, length))) = read_reply(input.as_bytes()) {
                prop_assert!(length > 0);
            }
        }
    }
}
