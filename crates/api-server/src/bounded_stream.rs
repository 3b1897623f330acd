//! A connection that nobody can hold open by sending or reading next to nothing.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

/// The head of a request has to be complete so long after its first byte.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A client has to take some of its answer within each such time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bounds what the framework leaves unbounded: it times the head of a connection's first request
/// only, and no answer at all.
#[derive(Debug)]
pub(crate) struct BoundedStream<T> {
    io: T,
    connection: Connection,
    /// Wakes the connection when a head may be overdue. Armed when needed and left running: a
    /// busy connection makes no timer for each request.
    head_timer: Option<Pin<Box<Sleep>>>,
    /// Runs while bytes wait for the client to take them.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<T> BoundedStream<T> {
    pub(crate) fn new(io: T) -> Self {
        Self {
            io,
            connection: Connection::default(),
            head_timer: None,
            write_timer: None,
        }
    }

    /// What requests on this connection tell it; for their extensions.
    pub(crate) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Nothing arrives now. An overdue head is answered like a client that has hung up.
    fn wait_for_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Phase::HeadArriving { since } = self.connection.0.get() else {
            return Poll::Pending;
        };
        if self.head_timer.as_ref().is_some_and(|t| !t.is_elapsed()) {
            return Poll::Pending;
        }
        let deadline = since + HEAD_TIMEOUT;
        let timer = self
            .head_timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        timer.as_mut().reset(deadline);
        timer.as_mut().poll(cx).map(Ok)
    }

    /// Whether what could not be written now has waited for too long.
    fn wait_for_reader<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::from(io::ErrorKind::TimedOut)))
    }

    fn bounded_write<R>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        match written {
            Poll::Ready(result) => {
                self.write_timer = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.wait_for_reader(cx),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for BoundedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                if buffer.filled().len() > before {
                    self.connection.bytes_arrived();
                }
                Poll::Ready(read)
            }
            Poll::Pending => self.wait_for_head(cx),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for BoundedStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.bounded_write(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.bounded_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.io).poll_shutdown(cx);
        self.bounded_write(cx, shut_down)
    }
}

/// What a connection knows of its requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection(Rc<Cell<Phase>>);

#[derive(Debug, Clone, Copy, Default)]
enum Phase {
    #[default]
    BetweenRequests,
    HeadArriving {
        since: Instant,
    },
    /// The head is here. What arrives now is a body, or a request that has to wait.
    Serving,
}

impl Connection {
    /// The head of a request has arrived; it is served until the value is dropped.
    pub(crate) fn serve(&self) -> Served {
        self.0.set(Phase::Serving);
        Served(self.clone())
    }

    fn bytes_arrived(&self) {
        if matches!(self.0.get(), Phase::BetweenRequests) {
            self.0.set(Phase::HeadArriving {
                since: Instant::now(),
            });
        }
    }
}

/// A request that is being served.
#[must_use]
pub(crate) struct Served(Connection);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.0.set(Phase::BetweenRequests);
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::{pause, timeout},
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn connected() -> (DuplexStream, BoundedStream<DuplexStream>) {
        let (client, io) = duplex(64);
        (client, BoundedStream::new(io))
    }

    /// Reads as long as something comes; `None` when the connection is still open after `LONG`.
    async fn read_to_end(stream: &mut BoundedStream<DuplexStream>) -> Option<Duration> {
        let (started, mut chunk) = (Instant::now(), [0; 16]);
        timeout(LONG, async {
            while stream.read(&mut chunk).await.unwrap() > 0 {}
            started.elapsed()
        })
        .await
        .ok()
    }

    #[tokio::test]
    async fn a_head_that_drips_ends_the_connection_in_time() {
        pause();
        let (mut client, mut stream) = connected();
        let dripping = async {
            loop {
                if client.write_all(b"x").await.is_err() {
                    break;
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        let ended = tokio::select! {
            ended = read_to_end(&mut stream) => ended,
            () = dripping => unreachable!("the stream is open"),
        };
        let ended = ended.expect("it ends");
        assert!(
            ended >= HEAD_TIMEOUT && ended < HEAD_TIMEOUT * 2,
            "{ended:?}"
        );
    }

    #[tokio::test]
    async fn each_head_has_the_whole_time_although_timers_are_left_running() {
        pause();
        let (mut client, mut stream) = connected();
        let mut chunk = [0; 16];
        for _ in 0..5 {
            client.write_all(b"first half").await.unwrap();
            let _ = stream.read(&mut chunk).await.unwrap();
            // Waits for the rest, which comes late but in time.
            let rest = timeout(Duration::from_secs(4), stream.read(&mut chunk)).await;
            assert!(rest.is_err(), "ended early");
            drop(stream.connection().serve());
        }
    }

    #[tokio::test]
    async fn neither_an_idle_connection_nor_one_that_is_served_ends() {
        pause();
        let (mut client, mut stream) = connected();
        assert_eq!(read_to_end(&mut stream).await, None);
        client.write_all(b"head").await.unwrap();
        let _ = stream.read(&mut [0; 16]).await.unwrap();
        let served = stream.connection().serve();
        client.write_all(b"body").await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, None);
        drop(served);
        assert_eq!(read_to_end(&mut stream).await, None);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_ends_the_connection_in_time() {
        pause();
        let (_client, mut stream) = connected();
        let started = Instant::now();
        let written = timeout(LONG, stream.write_all(&[0; 1_000])).await.unwrap();
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), WRITE_TIMEOUT.as_secs());
    }

    #[tokio::test]
    async fn an_answer_that_is_read_slowly_is_written_to_its_end() {
        pause();
        let (mut client, mut stream) = connected();
        let reading = async {
            let mut read = 0;
            while read < 1_000 {
                sleep(WRITE_TIMEOUT * 9 / 10).await;
                read += client.read(&mut [0; 32]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(stream.write_all(&[0; 1_000]), reading);
        written.unwrap();
    }
}
