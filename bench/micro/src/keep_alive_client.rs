//! An HTTP client that does not allocate during a request.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Maximum length of a response in bytes, including its head. All responses in the benchmark are
/// shorter.
const MAX_RESPONSE_LEN: usize = 4_096;

/// Timeout for reading a response of the service.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP client with one keep-alive connection, and a buffer for the current response.
#[derive(Debug)]
pub struct KeepAliveClient {
    stream: TcpStream,
    buffer: Box<[u8; MAX_RESPONSE_LEN]>,
}

/// An HTTP response, whose body is in the buffer of its [`KeepAliveClient`].
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    /// Status code of the response.
    pub status: u16,
    /// Body of the response.
    pub body: &'a [u8],
}

impl KeepAliveClient {
    /// Opens a connection to `address`.
    ///
    /// # Errors
    /// Fails if the connection cannot be opened.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
        Ok(Self {
            stream,
            buffer: Box::new([0; MAX_RESPONSE_LEN]),
        })
    }

    /// Sends `request`, which is a complete HTTP request, and waits for the response.
    ///
    /// # Errors
    /// Fails if:
    ///
    /// - the connection fails or is closed
    /// - no response arrives within the timeout
    /// - the response has no status or no `Content-Length`
    /// - the response is too long for the buffer
    pub fn send(&mut self, request: &[u8]) -> io::Result<Response<'_>> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        let (status, body, end) = loop {
            let received = self.stream.read(&mut self.buffer[filled..])?;
            if received == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            filled += received;
            if let Some(head_len) = find(&self.buffer[..filled], b"\r\n\r\n").map(|at| at + 4) {
                let head = &self.buffer[..head_len];
                let (status, body_len) = status(head)
                    .zip(content_length(head))
                    .ok_or(ErrorKind::InvalidData)?;
                if filled >= head_len + body_len {
                    break (status, head_len, head_len + body_len);
                }
            }
        };
        Ok(Response {
            status,
            body: &self.buffer[body..end],
        })
    }
}

fn status(head: &[u8]) -> Option<u16> {
    number(head.strip_prefix(b"HTTP/1.1 ")?)?.try_into().ok()
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let at = head
        .windows(NAME.len())
        .position(|window| window.eq_ignore_ascii_case(NAME))?;
    number(&head[at + NAME.len()..])
}

/// Parses the digits at the start of `text`. Returns `None` if there are no digits.
fn number(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    str::from_utf8(&text[..end]).ok()?.parse().ok()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_content_length_are_parsed_from_the_response_head() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n";
        assert_eq!((status(head), content_length(head)), (Some(200), Some(42)));
        assert_eq!(content_length(b"HTTP/1.1 204 No Content\r\n\r\n"), None);
    }
}
