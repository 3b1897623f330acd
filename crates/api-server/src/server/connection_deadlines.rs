//! Deadlines for client connections. Without deadlines, a client could hold connections open by
//! sending or reading very slowly.

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

use crate::server::drain::CountGuard;

/// Timeout for receiving a request head, measured from its first byte. If a request is answered
/// before its chunked body was read to the end, the rest of that body must arrive within the same
/// time after the response.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time for which an idle connection stays open. This time is longer than the idle timeout
/// of most load balancers (60 s), so that the load balancer and not the server closes an idle
/// connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Interval at which the task of a connection is woken after a missed deadline. A missed deadline
/// takes effect only when the framework reads from the connection, so the task is woken again and
/// again until then.
const OVERDUE_RECHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Maximum time for which a client may read nothing of a response. After this time, the connection
/// is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of consecutive writes to a connection that are blocked because the client does
/// not read. If one more write is blocked, the connection is closed.
///
/// Usually, the framework retries a blocked write only a few times per second, so [`WRITE_TIMEOUT`]
/// closes the connection first. If a client sends more and more data but reads nothing, the
/// framework retries without a pause and reaches this number sooner.
const MAX_BLOCKED_WRITES: u32 = 10_000;

/// A client connection with the deadlines that the framework lacks.
///
/// The framework limits only the time for the first request head of a connection. `BoundedStream`
/// also limits the time for later request heads, the time for the rest of an unread chunked body,
/// and the time for writing a response.
#[derive(Debug)]
pub(crate) struct BoundedStream<T> {
    io: T,
    connection: Connection,
    /// Timer that wakes the task of the connection to check the read deadline. The timer keeps
    /// running from one request to the next, so that a busy connection does not set a timer for
    /// each request.
    read_timer: Option<Pin<Box<Sleep>>>,
    /// Timer for [`WRITE_TIMEOUT`]. Runs while writes are blocked because the client does not read.
    write_timer: Option<Pin<Box<Sleep>>>,
    /// Number of blocked writes since the last successful write.
    blocked_writes: u32,
    _counted: CountGuard,
}

impl<T> BoundedStream<T> {
    /// Wraps the connection `io`. The guard `counted` counts the connection as open until the
    /// `BoundedStream` is dropped.
    pub(crate) fn new(io: T, counted: CountGuard) -> Self {
        Self {
            io,
            connection: Connection(Rc::new(State {
                phase: Cell::new(Phase::Idle {
                    since: Instant::now(),
                }),
                has_unread_body: Cell::new(false),
            })),
            read_timer: None,
            write_timer: None,
            blocked_writes: 0,
            _counted: counted,
        }
    }

    /// Returns a shared handle to the state of the connection. Requests of the connection get the
    /// handle with `conn_data`.
    pub(crate) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Returns `Ready` if the deadline of the current [`Phase`] has passed. Otherwise returns
    /// `Pending` and arranges that the task is woken to check again.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The timer never runs for longer than `HEAD_TIMEOUT`, the shortest timeout of all phases.
        // A phase that begins while the timer runs is therefore checked no later than at its own
        // deadline.
        if self.read_timer.as_ref().is_some_and(|t| !t.is_elapsed()) {
            return Poll::Pending;
        }
        let now = Instant::now();
        let mut next_check = now + HEAD_TIMEOUT;
        if let Some(deadline) = self.connection.0.phase.get().deadline() {
            if now >= deadline {
                return Poll::Ready(());
            }
            next_check = next_check.min(deadline);
        }
        self.wake_at(next_check, cx)
    }

    fn wake_at(&mut self, time: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .read_timer
            .get_or_insert_with(|| Box::pin(sleep_until(time)));
        timer.as_mut().reset(time);
        // Polling the timer registers this task to be woken.
        timer.as_mut().poll(cx)
    }

    /// Counts a blocked write. Fails with `TimedOut` if the client has read nothing for
    /// [`WRITE_TIMEOUT`], or if [`MAX_BLOCKED_WRITES`] is exceeded.
    fn poll_write_timeout<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let timed_out = || Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        // While more received bytes wait than the framework can buffer, the framework retries a
        // blocked write without a pause. The number of blocked writes is therefore limited too.
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
            Poll::Pending => self.poll_write_timeout(cx),
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
            // A client that sends faster than the framework reads never lets a read become
            // `Pending`. The deadline is therefore checked here as well.
            Poll::Ready(read) if self.connection.is_cut_off() => {
                buffer.set_filled(before);
                Poll::Ready(read)
            }
            Poll::Ready(read) => {
                self.connection.note_received(&buffer.filled()[before..]);
                Poll::Ready(read)
            }
            // If the deadline has passed, the stream reports its end, as if the client had
            // disconnected.
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
        // The framework flushes at every poll of a connection, but does not read while a request
        // body waits in its buffer. Without a timer set here, nothing would wake the task in that
        // state.
        if self.poll_overdue(cx).is_ready() {
            let _ = self.wake_at(Instant::now() + OVERDUE_RECHECK_INTERVAL, cx);
        }
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.bounded_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut self.io).poll_shutdown(cx);
        self.bounded_write(cx, shut_down)
    }
}

/// Shared handle to the state of a connection. The connection and its requests use clones of one
/// handle.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Rc<State>);

#[derive(Debug)]
struct State {
    phase: Cell<Phase>,
    /// Set while the current request has a body of unknown length, such as a chunked body, that was
    /// not read to its end.
    has_unread_body: Cell<bool>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No request has begun to arrive since the last response, or since the connection was opened.
    Idle { since: Instant },
    /// The first bytes of a request head have arrived, but not the whole head.
    HeadArriving { since: Instant },
    /// A request is being handled. Bytes that arrive in this phase belong to the body of that
    /// request or to the next request.
    Serving,
    /// The response was sent, but the request body was not read to its end. Bytes that arrive in
    /// this phase belong to that body or to the next request. Only the framework knows where the
    /// body ends.
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
    /// Marks a request as being handled until the returned guard is dropped.
    pub(crate) fn serve(&self, request: &RequestHead) -> Served {
        // After the response, the framework waits without a timeout for the rest of a chunked body,
        // and for the rest of the body of an upgrade request.
        let has_body = request.headers().contains_key(TRANSFER_ENCODING) || request.upgrade();
        self.0.has_unread_body.set(has_body);
        self.0.phase.set(Phase::Serving);
        Served(self.clone())
    }

    /// Records that the body of the current request was read to its end.
    pub(crate) fn set_body_read(&self) {
        self.0.has_unread_body.set(false);
    }

    /// Returns `true` if the current request has a body of unknown length that was not read to its
    /// end.
    pub(crate) fn has_unread_body(&self) -> bool {
        self.0.has_unread_body.get()
    }

    /// Returns `true` if the deadline has passed while a request head is still arriving, or while
    /// the body of an already answered request is still arriving.
    ///
    /// Returns `false` for an idle connection even after its deadline. The next request may have
    /// reached the socket buffer before the deadline, and may only be read after it.
    fn is_cut_off(&self) -> bool {
        match self.0.phase.get() {
            Phase::HeadArriving { since } | Phase::Answered { since } => {
                since.elapsed() >= HEAD_TIMEOUT
            }
            Phase::Idle { .. } | Phase::Serving => false,
        }
    }

    fn note_received(&self, bytes: &[u8]) {
        // Empty lines before a request line do not begin a request head (RFC 9112, section 2.2).
        let head_begins = bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        if head_begins && let Phase::Idle { .. } = self.0.phase.get() {
            let since = Instant::now();
            self.0.phase.set(Phase::HeadArriving { since });
        }
    }
}

/// Guard that marks a request as being handled until the guard is dropped.
#[must_use]
pub(crate) struct Served(Connection);

impl Drop for Served {
    fn drop(&mut self) {
        let Self(Connection(state)) = self;
        let since = Instant::now();
        state.phase.set(if state.has_unread_body.get() {
            Phase::Answered { since }
        } else {
            Phase::Idle { since }
        });
    }
}

#[cfg(test)]
mod tests;
