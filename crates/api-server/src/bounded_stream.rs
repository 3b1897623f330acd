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

use crate::lifecycle::Counted;

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
    _counted: Counted,
}

impl<T> BoundedStream<T> {
    /// It is `counted` for as long as it lives.
    pub(crate) fn new(io: T, counted: Counted) -> Self {
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
            _counted: counted,
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
mod tests;
