//! A connection that nobody can hold open by sending or reading next to nothing.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{dev::RequestHead, http::header::TRANSFER_ENCODING};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

/// The head of a request has to be complete so long after its first byte. The rest of a body that
/// nobody reads has as long.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Idle connections are kept for longer than load balancers keep theirs (commonly 60 seconds),
/// so that they are the ones to close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// What was overdue when nobody read is looked at again so soon.
const OVERDUE_LOOK: Duration = Duration::from_millis(100);

/// A client has to take some of its answer within each such time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that is slow makes the framework try a few times a second; one that sends ever more
/// while it takes nothing makes it try without a pause, and is cut off after so many.
const MAX_BLOCKED_WRITES: u32 = 10_000;

/// Bounds what the framework does not: it times the head of a connection's first request only, no
/// rest of a chunked body, and no answer.
#[derive(Debug)]
pub(crate) struct BoundedStream<T> {
    io: T,
    connection: Connection,
    /// Wakes the connection to see whether something is overdue. It is left running from request
    /// to request, so that a busy connection sets no timer for each.
    read_timer: Option<Pin<Box<Sleep>>>,
    /// Runs while bytes wait for the client to take them.
    write_timer: Option<Pin<Box<Sleep>>>,
    /// How often it was asked to write since then.
    blocked_writes: u32,
}

impl<T> BoundedStream<T> {
    pub(crate) fn new(io: T) -> Self {
        Self {
            io,
            connection: Connection(Rc::new(State {
                phase: Cell::new(Phase::Idle {
                    since: Instant::now(),
                }),
                owes_body: Cell::new(false),
            })),
            read_timer: None,
            write_timer: None,
            blocked_writes: 0,
        }
    }

    /// What requests on this connection tell it; for their extensions.
    pub(crate) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Whether something is overdue. If not, the task is woken to look again.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // There is always a timer that runs, never for longer than a head may take: whatever
        // begins while it does is looked at in time.
        if self.read_timer.as_ref().is_some_and(|t| !t.is_elapsed()) {
            return Poll::Pending;
        }
        let now = Instant::now();
        let mut next_look = now + HEAD_TIMEOUT;
        if let Some(deadline) = self.connection.0.phase.get().deadline() {
            if now >= deadline {
                return Poll::Ready(());
            }
            next_look = next_look.min(deadline);
        }
        self.look_at(next_look, cx)
    }

    fn look_at(&mut self, time: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .read_timer
            .get_or_insert_with(|| Box::pin(sleep_until(time)));
        timer.as_mut().reset(time);
        // Registers this task to be woken.
        timer.as_mut().poll(cx)
    }

    /// Whether what could not be written now has waited for too long.
    fn wait_for_reader<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let timed_out = || Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        // While more than it buffers waits to be read, the framework asks without a pause.
        self.blocked_writes += 1;
        if self.blocked_writes > MAX_BLOCKED_WRITES {
            return timed_out();
        }
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => timed_out(),
            Poll::Pending => Poll::Pending,
        }
    }

    fn bounded_write<R>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        match written {
            Poll::Ready(result) => {
                self.write_timer = None;
                self.blocked_writes = 0;
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
                self.connection.arrived(&buffer.filled()[before..]);
                Poll::Ready(read)
            }
            // What is overdue is answered like a client that has hung up.
            Poll::Pending => self.poll_overdue(cx).map(Ok),
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
        // The framework flushes whenever it looks at a connection, and reads less often: not while
        // a body waits for somebody to take it. Then nothing else would wake it.
        if self.poll_overdue(cx).is_ready() {
            let _ = self.look_at(Instant::now() + OVERDUE_LOOK, cx);
        }
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.bounded_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.io).poll_shutdown(cx);
        self.bounded_write(cx, shut_down)
    }
}

/// What a connection and its requests know of each other.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Rc<State>);

#[derive(Debug)]
struct State {
    phase: Cell<Phase>,
    /// The request that is served has a body without a length, and nobody has read it to its end.
    owes_body: Cell<bool>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No request is there.
    Idle { since: Instant },
    /// The head of a request has begun.
    HeadArriving { since: Instant },
    /// The head is here. What arrives now is a body, or a request that has to wait.
    Serving,
    /// There was an answer, and a body that nobody has read. What arrives now is its rest, or
    /// another request: only the framework knows.
    Answered { since: Instant },
}

impl Phase {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Idle { since } => Some(since + IDLE_TIMEOUT),
            Self::HeadArriving { since } | Self::Answered { since } => Some(since + HEAD_TIMEOUT),
            Self::Serving => None,
        }
    }
}

impl Connection {
    /// The head of a request has arrived; it is served until the value is dropped.
    pub(crate) fn serve(&self, request: &RequestHead) -> Served {
        // After an answer the framework waits for the end of these, for as long as it takes.
        let owes_body = request.headers().contains_key(TRANSFER_ENCODING) || request.upgrade();
        self.0.owes_body.set(owes_body);
        self.0.phase.set(Phase::Serving);
        Served(self.clone())
    }

    /// The body of the request that is served was read to its end.
    pub(crate) fn body_was_read(&self) {
        self.0.owes_body.set(false);
    }

    /// Whether the request that is served leaves a body behind.
    pub(crate) fn owes_body(&self) -> bool {
        self.0.owes_body.get()
    }

    fn arrived(&self, bytes: &[u8]) {
        // Empty lines before a request are ignored (RFC 9112, section 2.2).
        let begins = bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        if begins && let Phase::Idle { .. } = self.0.phase.get() {
            let since = Instant::now();
            self.0.phase.set(Phase::HeadArriving { since });
        }
    }
}

/// A request that is being served.
#[must_use]
pub(crate) struct Served(Connection);

impl Drop for Served {
    fn drop(&mut self) {
        let Self(Connection(state)) = self;
        let since = Instant::now();
        state.phase.set(if state.owes_body.get() {
            Phase::Answered { since }
        } else {
            Phase::Idle { since }
        });
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::{pause, timeout},
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(200);

    fn connected() -> (DuplexStream, BoundedStream<DuplexStream>) {
        let (client, io) = duplex(64);
        (client, BoundedStream::new(io))
    }

    /// Reads as long as something comes; tells after how many seconds the connection ended, or
    /// `None` when it is still open after `LONG`.
    async fn read_to_end(stream: &mut BoundedStream<DuplexStream>) -> Option<u64> {
        let (started, mut chunk) = (Instant::now(), [0; 16]);
        timeout(LONG, async {
            while stream.read(&mut chunk).await.unwrap() > 0 {}
            started.elapsed().as_secs()
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
        assert_eq!(ended, Some(HEAD_TIMEOUT.as_secs()));
    }

    fn without_body() -> RequestHead {
        RequestHead::default()
    }

    fn with_chunked_body() -> RequestHead {
        let mut head = RequestHead::default();
        let chunked = HeaderValue::from_static("chunked");
        head.headers.insert(TRANSFER_ENCODING, chunked);
        head
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
            drop(stream.connection().serve(&without_body()));
        }
    }

    async fn send(client: &mut DuplexStream, stream: &mut BoundedStream<DuplexStream>, text: &str) {
        client.write_all(text.as_bytes()).await.unwrap();
        let _ = stream.read(&mut [0; 64]).await.unwrap();
    }

    #[tokio::test]
    async fn an_idle_connection_ends_at_its_time_whatever_came_before() {
        pause();
        let (mut client, mut stream) = connected();
        assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
        let (mut another, mut stream_2) = connected();
        send(&mut another, &mut stream_2, "head").await;
        drop(stream_2.connection().serve(&without_body()));
        assert_eq!(
            read_to_end(&mut stream_2).await,
            Some(IDLE_TIMEOUT.as_secs())
        );
        let _ = client.shutdown().await;
    }

    #[tokio::test]
    async fn empty_lines_begin_no_request() {
        pause();
        let (mut client, mut stream) = connected();
        send(&mut client, &mut stream, "\r\n").await;
        assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
    }

    #[tokio::test]
    async fn a_request_that_is_served_has_all_the_time() {
        pause();
        let (mut client, mut stream) = connected();
        send(&mut client, &mut stream, "head").await;
        let served = stream.connection().serve(&with_chunked_body());
        send(&mut client, &mut stream, "body").await;
        assert_eq!(read_to_end(&mut stream).await, None);
        drop(served);
        // However long it took, what follows is bounded again.
        assert_eq!(read_to_end(&mut stream).await, Some(HEAD_TIMEOUT.as_secs()));
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_has_the_time_of_a_head_after_the_answer() {
        pause();
        let (mut client, mut stream) = connected();
        send(&mut client, &mut stream, "head").await;
        drop(stream.connection().serve(&with_chunked_body()));
        send(&mut client, &mut stream, "1").await;
        assert_eq!(read_to_end(&mut stream).await, Some(HEAD_TIMEOUT.as_secs()));
    }

    #[tokio::test]
    async fn after_a_body_that_was_read_a_connection_idles() {
        pause();
        let (mut client, mut stream) = connected();
        send(&mut client, &mut stream, "head and body").await;
        let served = stream.connection().serve(&with_chunked_body());
        stream.connection().body_was_read();
        drop(served);
        assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
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
    async fn one_that_is_asked_without_a_pause_ends_at_once() {
        let (_client, mut stream) = connected();
        let started = std::time::Instant::now();
        let mut task = Context::from_waker(std::task::Waker::noop());
        let ended = loop {
            if let Poll::Ready(Err(error)) = Pin::new(&mut stream).poll_write(&mut task, &[0; 64]) {
                break error;
            }
        };
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < WRITE_TIMEOUT / 2);
    }

    /// As when a body waits in the framework's buffer: it flushes, and does not read.
    #[tokio::test]
    async fn a_flush_sets_the_timer_that_a_read_would_have_set() {
        pause();
        let (_client, mut stream) = connected();
        let started = Instant::now();
        let woken = std::future::poll_fn(|cx| {
            if started.elapsed() >= HEAD_TIMEOUT {
                return Poll::Ready(());
            }
            let _ = Pin::new(&mut stream).poll_flush(cx);
            Poll::Pending
        });
        timeout(HEAD_TIMEOUT * 2, woken).await.expect("it is woken");
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
