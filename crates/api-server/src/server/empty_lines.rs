//! Finds empty lines in received bytes. A request head and a chunked body end with an empty line,
//! but an empty line may also be part of a body.

use memchr::memchr_iter;

/// Searches a stream of bytes, which arrives in pieces, for empty lines.
#[derive(Debug, Default)]
pub(super) struct EmptyLines {
    line: Line,
}

/// State of the search within the current line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// The stream has just begun, or the current line is not empty.
    #[default]
    NotEmpty,
    /// The last line has ended, and no byte of the next line has been searched.
    Begins,
    /// The current line consists of a carriage return so far.
    CarriageReturn,
}

impl EmptyLines {
    /// Searches `piece` for the first empty line, and returns the number of bytes up to its end.
    /// Returns `None` if `piece` contains no empty line.
    ///
    /// The next call must be given the bytes that follow in the stream: after an empty line, the
    /// rest of `piece`; after `None`, the next piece.
    pub(super) fn next(&mut self, piece: &[u8]) -> Option<usize> {
        let mut line_begin = 0;
        for line_end in memchr_iter(b'\n', piece) {
            let line = &piece[line_begin..line_end];
            if self.is_empty(line) {
                self.line = Line::NotEmpty;
                return Some(line_end + 1);
            }
            self.line = Line::Begins;
            line_begin = line_end + 1;
        }
        let rest = &piece[line_begin..];
        self.line = match (self.line, rest) {
            (line, []) => line,
            (Line::Begins, [b'\r']) => Line::CarriageReturn,
            _ => Line::NotEmpty,
        };
        None
    }

    /// Returns `true` if the current line is empty. `end` is the part of the line that arrived with
    /// the current piece.
    fn is_empty(&self, end: &[u8]) -> bool {
        match self.line {
            Line::NotEmpty => false,
            Line::Begins => matches!(end, [] | [b'\r']),
            Line::CarriageReturn => end.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// Returns the positions after each empty line in `text`, which arrives in pieces of `size`
    /// bytes.
    fn find(text: &str, size: usize) -> Vec<usize> {
        let (mut lines, mut found, mut at) = (EmptyLines::default(), Vec::new(), 0);
        for piece in text.as_bytes().chunks(size) {
            let end = at + piece.len();
            let mut rest = piece;
            while let Some(length) = lines.next(rest) {
                rest = &rest[length..];
                found.push(end - rest.len());
            }
            at = end;
        }
        found
    }

    #[rstest]
    #[case::head("GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[27])]
    #[case::two_heads("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", &[18, 36])]
    #[case::bare_line_feeds("GET / HTTP/1.1\nHost: x\n\nGET", &[24])]
    #[case::mixed_line_ends("a\n\r\nb\r\n\nc", &[4, 8])]
    #[case::chunked_body("2\r\n{}\r\n0\r\n\r\n", &[12])]
    #[case::no_empty_line("a\r\nb\r\r\n\rc\r\n", &[])]
    #[case::empty_lines_before_a_head("\r\n\r\nGET / HTTP/1.1\r\n\r\n", &[4, 22])]
    fn empty_lines_are_found_in_whole_texts_and_in_pieces(
        #[case] text: &str,
        #[case] expected: &[usize],
    ) {
        assert_eq!(find(text, text.len()), expected);
        for size in 1..text.len() {
            assert_eq!(find(text, size), expected, "pieces of {size} bytes");
        }
    }

    proptest! {
        #[test]
        fn division_into_pieces_does_not_change_the_positions_of_empty_lines(text in "[a\r\n]{1,30}", size in 1_usize..30) {
            prop_assert_eq!(find(&text, size), find(&text, text.len()));
        }
    }
}
