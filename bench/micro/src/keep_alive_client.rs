//! A client that allocates nothing while it asks.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Answers are shorter.
const MAX_ANSWER_LEN: usize = 4_096;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection that stays open, with a buffer of its own for answers.
#[derive(Debug)]
pub struct KeepAliveClient {
    stream: TcpStream,
    buffer: Box<[u8; MAX_ANSWER_LEN]>,
}

/// An answer, in the buffer of its client.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

impl KeepAliveClient {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self {
            stream,
            buffer: Box::new([0; MAX_ANSWER_LEN]),
        })
    }

    /// Sends a whole request and waits for its answer.
    ///
    /// # Errors
    /// When the connection breaks, or the answer is none of this API's.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
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
        Ok(Answer {
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

/// The digits that `text` begins with.
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
    fn heads_are_read() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n";
        assert_eq!((status(head), content_length(head)), (Some(200), Some(42)));
        assert_eq!(content_length(b"HTTP/1.1 204 No Content\r\n\r\n"), None);
    }
}
