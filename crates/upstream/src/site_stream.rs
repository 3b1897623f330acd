//! Byte stream of a connection to a site, with a limit on the length of an answer's head.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// Maximum number of bytes that a site may send before the head of its answer is complete. Interim
/// responses (1xx) count as well, because a site could otherwise send any number of them.
const MAX_RECEIVED_HEAD_BYTES: usize = 160 * 1_024;

/// Number of bytes that the site may still send before the head of its answer is complete. 0 means
/// that no head is expected and there is no limit.
#[derive(Debug, Default)]
pub(crate) struct HeadBudget(AtomicUsize);

impl HeadBudget {
    pub(crate) fn expect_head(&self) {
        self.0.store(MAX_RECEIVED_HEAD_BYTES, Ordering::Relaxed);
    }

    pub(crate) fn head_received(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Counts received bytes. Returns `false` if the head exceeds the limit.
    fn count(&self, bytes: usize) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => true,
            left => {
                self.0
                    .store(left.saturating_sub(bytes).max(1), Ordering::Relaxed);
                bytes < left
            }
        }
    }
}

/// Plain or encrypted byte stream of a connection to a site.
#[derive(Debug)]
enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Stream that hyper uses for a connection to a site.
#[derive(Debug)]
pub(crate) struct SiteStream {
    transport: Transport,
    budget: Arc<HeadBudget>,
    is_write_broken: bool,
}

impl SiteStream {
    pub(crate) fn plain(stream: TcpStream, budget: Arc<HeadBudget>) -> Self {
        Self::new(Transport::Plain(stream), budget)
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>, budget: Arc<HeadBudget>) -> Self {
        Self::new(Transport::Tls(Box::new(stream)), budget)
    }

    fn new(transport: Transport, budget: Arc<HeadBudget>) -> Self {
        Self {
            transport,
            budget,
            is_write_broken: false,
        }
    }
}

impl AsyncRead for SiteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        };
        let received = buf.filled().len().saturating_sub(before);
        if matches!(read, Poll::Ready(Ok(()))) && !self.budget.count(received) {
            let error = io::Error::other("the head of the answer is too long");
            return Poll::Ready(Err(error));
        }
        read
    }
}

// A site may answer and close its connection before it has read the whole request, for example with
// 413. Writing then fails. hyper would report the failure and lose the answer, which has already
// been received. A failed write is therefore reported as successful. hyper then continues to read:
// it gets the answer, or the read fails too.
impl AsyncWrite for SiteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_write_broken {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        };
        match written {
            Poll::Ready(Err(_)) => {
                self.is_write_broken = true;
                Poll::Ready(Ok(buf.len()))
            }
            written => written,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = || bufs.iter().map(|buf| buf.len()).sum();
        if self.is_write_broken {
            return Poll::Ready(Ok(length()));
        }
        let written = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        };
        match written {
            Poll::Ready(Err(_)) => {
                self.is_write_broken = true;
                Poll::Ready(Ok(length()))
            }
            written => written,
        }
    }

    // Without this method, hyper would copy each body into the buffer for heads. An idle connection
    // keeps this buffer, so the memory would not be freed.
    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_write_broken {
            return Poll::Ready(Ok(()));
        }
        let flushed = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        };
        match flushed {
            Poll::Ready(Err(_)) => {
                self.is_write_broken = true;
                Poll::Ready(Ok(()))
            }
            flushed => flushed,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn limit_on_received_bytes_applies_only_until_the_head_is_complete() {
        let budget = HeadBudget::default();
        assert!(budget.count(usize::MAX));
        budget.expect_head();
        assert!(budget.count(MAX_RECEIVED_HEAD_BYTES - 1));
        assert!(!budget.count(1));
        assert!(!budget.count(1));
        budget.head_received();
        assert!(budget.count(usize::MAX));
    }

    #[tokio::test]
    async fn request_parts_are_written_in_one_call_and_a_failed_write_is_not_reported_to_hyper() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut stream = SiteStream::plain(client.unwrap(), Arc::default());
        assert!(stream.is_write_vectored());
        let (mut site, _) = accepted.unwrap();
        let parts = [IoSlice::new(b"head"), IoSlice::new(b" and body")];
        assert_eq!(stream.write_vectored(&parts).await.unwrap(), 13);
        let mut received = [0; 13];
        site.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"head and body");

        drop((site, listener));
        // The failure of the write is not reported, so that hyper can still read the answer.
        for _ in 0..1_000 {
            assert_eq!(stream.write_vectored(&parts).await.unwrap(), 13);
            if stream.is_write_broken {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(stream.is_write_broken);
        assert_eq!(stream.write_vectored(&parts).await.unwrap(), 13);
    }
}
