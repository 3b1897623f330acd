//! Ignores offers of a client to change the protocol, except for offers of WebSocket.

use memchr::memmem;

const OPTION: &[u8] = b"upgrade";

/// Text that replaces the option `upgrade` in the header `Connection`. It has the same length, and
/// the framework ignores an option with this name.
const REPLACEMENT: &[u8] = b"ignored";

/// If `bytes` begin with a request head that offers a change of the protocol, such as to HTTP/2
/// (h2c) or TLS, removes the offer. A server may ignore such an offer (RFC 9110, section 7.8). An
/// offer of WebSocket is kept.
///
/// The framework closes the connection after each request with an offer, because it expects the
/// handler to take over the connection. Some clients, such as the default client of Java, offer
/// HTTP/2 with every request. Without this function, these clients would need a new connection for
/// each request.
///
/// The function only finds offers in the part of the head that is in `bytes`. After a request with
/// an offer in another part, the connection is closed.
pub(super) fn ignore(bytes: &mut [u8]) {
    // This quick check recognizes most requests without an offer. Both spellings of the header
    // name, `Upgrade` and `upgrade`, contain this text.
    if memmem::find(bytes, b"pgrade").is_none() {
        return;
    }
    let begin = empty_lines_before_head(bytes);
    let bytes = &mut bytes[begin..];
    let end = memmem::find(bytes, b"\r\n\r\n").unwrap_or(bytes.len());
    let (head, _) = bytes.split_at_mut(end);
    let mut lines = head.split(|byte| *byte == b'\n');
    let is_request = lines
        .next()
        .is_some_and(|line| line.trim_ascii_end().ends_with(b" HTTP/1.1"));
    let is_websocket = lines.any(|line| {
        field(line, b"upgrade")
            .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    });
    if !is_request || is_websocket {
        return;
    }
    for line in head.split_mut(|byte| *byte == b'\n') {
        if field(line, b"connection").is_none() {
            continue;
        }
        let (_, options) = line.split_at_mut(b"connection:".len());
        for option in options.split_mut(|byte| *byte == b',') {
            let start = option.len() - option.trim_ascii_start().len();
            let len = option.trim_ascii().len();
            let option = &mut option[start..start + len];
            if option.eq_ignore_ascii_case(OPTION) {
                option.copy_from_slice(REPLACEMENT);
            }
        }
    }
}

/// Returns the number of bytes of the empty lines at the beginning of `bytes`.
pub(super) fn empty_lines_before_head(bytes: &[u8]) -> usize {
    let is_line_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    bytes.iter().take_while(is_line_end).count()
}

/// Returns the value of the header field in `line`, if the field has the name `name`.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let is_named = start.eq_ignore_ascii_case(name);
    rest.strip_prefix(b":").filter(|_| is_named)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn ignored(head: &str) -> String {
        let mut bytes = head.as_bytes().to_vec();
        ignore(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[rstest]
    #[case::java(
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c",
        "ignored, HTTP2-Settings"
    )]
    #[case::tls("Upgrade: TLS/1.2\r\nconnection:upgrade", "ignored")]
    #[case::after_bare_line_feeds("Upgrade: h2c\nConnection: Upgrade", "ignored")]
    #[case::with_keep_alive(
        "Connection: keep-alive , Upgrade\r\nUpgrade: h2c",
        "keep-alive , ignored"
    )]
    fn offer_of_another_protocol_is_removed_from_the_connection_header(
        #[case] fields: &str,
        #[case] options: &str,
    ) {
        // An empty line before the request line is allowed.
        let head = ignored(&format!(
            "\r\nPOST / HTTP/1.1\r\n{fields}\r\nHost: a\r\n\r\n"
        ));
        assert!(head.contains(options), "{head}");
        let connection = head
            .lines()
            .find(|line| line.to_lowercase().starts_with("connection:"));
        assert!(
            !connection.unwrap().to_lowercase().contains("upgrade"),
            "{head}"
        );
    }

    #[rstest]
    #[case::websocket("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")]
    #[case::another_header("GET / HTTP/1.1\r\nX-Connection: upgrade\r\nUpgrade: h2c\r\n\r\n")]
    #[case::another_option("GET / HTTP/1.1\r\nConnection: upgraded\r\n\r\n")]
    #[case::in_the_body("POST / HTTP/1.1\r\nHost: a\r\n\r\nConnection: upgrade\r\n")]
    #[case::no_head("x\r\nConnection: upgrade\r\n\r\n")]
    #[case::empty_line_first("\r\nConnection: upgrade\r\n\r\n")]
    fn bytes_without_an_offer_that_must_be_removed_are_unchanged(#[case] bytes: &str) {
        assert_eq!(ignored(bytes), bytes);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_keep_their_length_and_cause_no_panic(
            lines in proptest::collection::vec("(Connection:|Upgrade:|GET / HTTP/1.1|[ ,:a-z]{0,3}|upgrade){0,4}", 0..8),
        ) {
            let text = lines.join("\r\n");
            prop_assert_eq!(ignored(&text).len(), text.len());
        }
    }
}
