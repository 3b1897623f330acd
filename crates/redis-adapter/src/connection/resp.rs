//! RESP, the protocol of Redis: how commands are written and replies are read, versions 2 and 3.
//!
//! Nothing that comes in is trusted: lengths are bounded before anything is made for them, and what
//! does not follow the protocol to the letter is [`Malformed`].

use super::reply::Reply;

/// A longer text is not kept: no session is as long, and nothing else that is asked for.
const MAX_TEXT_LEN: usize = 1024 * 1024;

/// A longer line is none: lines hold a length, a number, or a short text.
const MAX_LINE_LEN: usize = 64 * 1024;

/// Lists in lists go no deeper: CLUSTER SLOTS takes four.
const MAX_DEPTH: usize = 8;

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

/// Looks for the end of a reply that comes in many pieces, at each byte of it once: whoever read a
/// long list anew with each piece would be busy with nothing else.
pub(super) struct Search {
    /// So much has been looked at.
    at: usize,
    /// So many replies end before this one does, itself included.
    missing: usize,
}

impl Search {
    pub(super) fn begin() -> Self {
        Self { at: 0, missing: 1 }
    }

    /// Goes on in `input`, which is all that has come of the reply; whether it is all there is.
    pub(super) fn finds_end(&mut self, input: &[u8]) -> Result<bool, Malformed> {
        while self.missing > 0 {
            let mut rest = Rest {
                input,
                read: self.at,
            };
            let Some(line) = rest.line()? else {
                return Ok(false);
            };
            let (kind, line) = line.split_first().ok_or(Malformed)?;
            let within = match kind {
                b'$' | b'*' if line == b"-1" => 0,
                b'$' | b'!' | b'=' => match rest.text(length(line)?, 1)? {
                    Some(_) => 0,
                    None => return Ok(false),
                },
                b'*' | b'~' | b'>' => length(line)?,
                b'%' => twice(length(line)?)?,
                // What they are said of comes after them.
                b'|' => twice(length(line)?)?.checked_add(1).ok_or(Malformed)?,
                _ => 0,
            };
            self.missing = (self.missing - 1).checked_add(within).ok_or(Malformed)?;
            self.at = rest.read;
        }
        Ok(true)
    }
}

/// A text, or its length if it is not to be kept.
enum Text<'a> {
    Kept(&'a [u8]),
    TooLong(usize),
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
            b'$' | b'!' | b'=' => {
                let text = self.text(length(line)?, depth)?;
                return Ok(text.map(|text| match (text, kind) {
                    (Text::TooLong(length), _) => Reply::TooLong(length),
                    (Text::Kept(text), b'!') => Reply::Error(text.to_vec()),
                    // Its first four bytes name a format.
                    (Text::Kept(text), b'=') => {
                        Reply::Bulk(text.get(4..).unwrap_or_default().to_vec())
                    }
                    (Text::Kept(text), _) => Reply::Bulk(text.to_vec()),
                }));
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

    fn text(&mut self, length: usize, depth: usize) -> Result<Option<Text<'a>>, Malformed> {
        let end = self.read.checked_add(length).ok_or(Malformed)?;
        if length > MAX_TEXT_LEN {
            // In a list it would have to be read to find what follows.
            if depth > 0 {
                return Err(Malformed);
            }
            self.read = end.checked_add(2).ok_or(Malformed)?;
            return Ok(Some(Text::TooLong(length)));
        }
        let Some(text) = self.input.get(self.read..end + 2) else {
            return Ok(None);
        };
        let text = text.strip_suffix(b"\r\n").ok_or(Malformed)?;
        self.read = end + 2;
        Ok(Some(Text::Kept(text)))
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
        let mut search = Search::begin();
        for end in 0..input.len() {
            assert_eq!(read_reply(&input[..end]), Ok(None), "{end} bytes of it");
            assert_eq!(search.finds_end(&input[..end]), Ok(false));
        }
        assert_eq!(search.finds_end(input), Ok(true));
        assert_eq!(search.at, input.len());
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
    #[case::too_long_within_a_list(b"*1\r\n$1048577\r\n")]
    fn what_is_no_reply(#[case] input: &[u8]) {
        assert_eq!(read_reply(input), Err(Malformed));
    }

    #[rstest]
    #[case::items(b"*9223372036854775807\r\n")]
    #[case::pairs(b"%9223372036854775807\r\n")]
    fn a_length_is_no_reason_to_make_room(#[case] input: &[u8]) {
        assert_eq!(read_reply(input), Ok(None));
    }

    #[test]
    fn a_text_longer_than_memory_is_one_to_be_skipped() {
        let read = read_reply(b"$9223372036854775807\r\n");
        assert!(matches!(read, Ok(Some((Reply::TooLong(_), _)))));
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

    proptest! {
        #[test]
        fn whatever_comes_in_is_read_without_a_panic(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_reply(&input);
        }

        #[test]
        fn what_nearly_is_a_reply_is_read_without_a_panic(input in "([*$:+%>~|=!-](-1|[0-9]{1,3}|[a-z]{0,3})\r\n){1,12}") {
            let mut search = Search::begin();
            let found = search.finds_end(input.as_bytes());
            match read_reply(input.as_bytes()) {
                Ok(Some((_, length))) => {
                    prop_assert!(length > 0);
                    prop_assert_eq!(found, Ok(true));
                    prop_assert_eq!(search.at, length);
                }
                // It may find the end of what is malformed within.
                Ok(None) => prop_assert_eq!(found, Ok(false)),
                Err(Malformed) => {}
            }
        }
    }
}
