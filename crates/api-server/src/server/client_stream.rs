//! Stream of a client connection, between the socket and the HTTP framework. The stream ends
//! connections of clients that send or read very slowly. It also delays received bytes, so that
//! consecutive requests on a connection do not affect each other.

use std::{
    cell::RefCell,
    io,
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::web::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

use crate::server::{
    connection::{Connection, Delivery, HEAD_TIMEOUT},
    connection_limits::Place,
    drain::CountGuard,
    empty_lines::EmptyLines,
    head_timeout,
    interim_response::CONTINUE,
    upgrade_offer,
};

/// Interval at which the task of a connection is woken after a missed deadline. A missed deadline
/// takes effect only when the framework reads from the connection, so the task is woken again and
/// again until then.
const OVERDUE_RECHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Maximum time for which a client may read nothing of a response. After this time, the connection
/// is closed.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Rate, in bytes per second, at which a client must read a long response. Without a minimum rate,
/// a client that reads a few bytes now and then could keep a connection to a site open for hours.
const MIN_READ_RATE: u64 = 1_024;

/// Maximum number of bytes of later requests that are read from the connection while a request is
/// being handled. The server reads ahead to notice whether the client has disconnected. Further
/// bytes wait in the kernel.
const MAX_WITHHELD: usize = 8 * 1_024;

/// A client connection with timeouts and rules for pipelining that the framework lacks.
///
/// The framework can limit only the time for the first request head of a connection. It rounds this
/// time to half a second, so that thousands of connections that were opened in the same half second
/// would end in the same millisecond. `ClientStream` limits the time for each request head, the
/// time that a connection is idle, and the time for writing a response.
///
/// If requests are pipelined, the framework parses the next requests while it handles the first
/// one. The response to the first request then depends on the last parsed request: for example, on
/// the method `HEAD` or on `Connection: close`. `ClientStream` therefore delivers no byte of a
/// request until the previous request is answered, and no byte after the last response of the
/// connection (RFC 9112, sections 9.3.2 and 9.6). `ClientStream` delays bytes, but does not parse
/// them. Bytes are changed only if [`upgrade_offer`] removes an offer, and the number of bytes
/// stays the same.
#[derive(Debug)]
pub(crate) struct ClientStream<T> {
    /// The wrapped stream. A second reference belongs to the service that later closes the
    /// connection in stages.
    io: Rc<RefCell<T>>,
    connection: Connection,
    /// Received bytes that have not been delivered to the framework yet.
    withheld: BytesMut,
    empty_lines: EmptyLines,
    /// Set if the client has closed its sending side of the connection.
    has_ended: bool,
    /// Set if the last delivered byte ended an empty line. The delivered bytes may be a whole
    /// request, so the framework must parse them before it gets more bytes.
    is_at_boundary: bool,
    /// Timer that wakes the task of the connection to check the read deadline. The timer keeps
    /// running from one request to the next, so that a busy connection does not set a timer for
    /// each request.
    read_timer: Option<Pin<Box<Sleep>>>,
    /// Timer for `write_allowance`. Runs while writes are blocked because the client does not read.
    write_timer: Option<Pin<Box<Sleep>>>,
    /// Time for which writes of the current response may still be blocked. The time while writes
    /// are blocked is subtracted, and written bytes add time, up to [`WRITE_TIMEOUT`].
    write_allowance: Duration,
    _counted: CountGuard,
}

impl<T> ClientStream<T> {
    /// Wraps the connection `io`. `place` counts the connection towards the limits of the listener,
    /// and `counted` counts it as open. Both counts end when the `ClientStream` is dropped.
    pub(crate) fn new(io: T, place: Place, counted: CountGuard) -> Self {
        Self {
            io: Rc::new(RefCell::new(io)),
            connection: Connection::new(place),
            withheld: BytesMut::new(),
            empty_lines: EmptyLines::default(),
            has_ended: false,
            is_at_boundary: false,
            read_timer: None,
            write_timer: None,
            write_allowance: WRITE_TIMEOUT,
            _counted: counted,
        }
    }

    /// Returns a shared handle to the state of the connection. Requests of the connection get the
    /// handle with `conn_data`.
    pub(crate) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Returns a shared reference to the wrapped stream. The caller must not use it while this
    /// `ClientStream` exists.
    pub(crate) fn io(&self) -> Rc<RefCell<T>> {
        Rc::clone(&self.io)
    }

    /// Returns `Ready` if the deadline of the connection has passed. Otherwise returns `Pending`
    /// and arranges that the task is woken to check again.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The timer never runs for longer than `HEAD_TIMEOUT`, the shortest timeout of all phases.
        // A phase that begins while the timer runs is therefore checked no later than at its own
        // deadline.
        if self.read_timer.as_ref().is_some_and(|t| !t.is_elapsed()) {
            return Poll::Pending;
        }
        let now = Instant::now();
        let mut next_check = now + HEAD_TIMEOUT;
        if let Some(deadline) = self.connection.deadline() {
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

    /// Waits until the client reads again. Fails with `TimedOut` if `write_allowance` is used up:
    /// the client has read nothing for [`WRITE_TIMEOUT`], or has long read more slowly than
    /// [`MIN_READ_RATE`]. Also fails if the connection must make room for another connection.
    fn poll_write_timeout<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let timed_out = || Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        self.connection.note_write_blocked();
        // If the place of this connection is needed while the client does not read, the task must
        // be woken.
        let _ = self.connection.place().poll_closing(cx);
        if self.connection.makes_room() {
            return timed_out();
        }
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(sleep(self.write_allowance)));
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
                if let Some(timer) = self.write_timer.take() {
                    self.write_allowance = timer.deadline() - Instant::now();
                    self.connection.note_write_unblocked();
                    // In the meantime, requests were withheld. They may be delivered now.
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_write_timeout(cx),
        }
    }

    /// Adds time to `write_allowance`: the time that a client needs to read `length` bytes at
    /// [`MIN_READ_RATE`].
    fn note_written(&mut self, length: usize) {
        if self.write_allowance < WRITE_TIMEOUT {
            let earned = Duration::from_millis(length as u64 * 1_000 / MIN_READ_RATE);
            self.write_allowance = WRITE_TIMEOUT.min(self.write_allowance + earned);
        }
    }
}

impl<T: AsyncWrite + Unpin> ClientStream<T> {
    /// Sends `100 Continue` if the client waits for it and a handler reads the request body.
    fn poll_interim_response(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let bytes = self.connection.interim_response().to_send();
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let written = Pin::new(&mut *self.io.borrow_mut()).poll_write(cx, bytes);
            match ready!(self.bounded_write(cx, written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                len => self.connection.interim_response().note_sent(len),
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> ClientStream<T> {
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io.borrow_mut()).poll_read(cx, buffer)
    }

    /// Delivers received bytes to the framework: up to the next empty line, or at most `limit`
    /// bytes. Withholds the remaining bytes.
    fn poll_deliver(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        limit: Option<u64>,
    ) -> Poll<io::Result<()>> {
        if self.connection.is_head_overdue() {
            return self.end_overdue(cx);
        }
        let before = buffer.filled().len();
        if self.withheld.is_empty() && !self.has_ended {
            match self.poll_receive(cx, buffer) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_idle(cx),
            }
        }
        if self.connection.is_idle() {
            self.write_allowance = WRITE_TIMEOUT;
        }
        if self.is_at_boundary {
            if self.withheld.is_empty() && buffer.filled().len() == before {
                self.has_ended = true;
            }
            self.withheld.extend_from_slice(&buffer.filled()[before..]);
            buffer.set_filled(before);
            self.note_withheld();
            self.is_at_boundary = false;
            // The framework parses the delivered bytes as soon as a read is pending.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.withheld.is_empty() {
            let is_idle = self.connection.is_idle();
            let received = &mut buffer.filled_mut()[before..];
            let length = self.pass(received, limit);
            if is_idle {
                upgrade_offer::ignore(&mut received[..length]);
            }
            self.withheld.extend_from_slice(&received[length..]);
            buffer.set_filled(before + length);
        } else {
            let available = self.withheld.len().min(buffer.remaining());
            let mut received = self.withheld.split_to(available);
            let is_idle = self.connection.is_idle();
            let length = self.pass(&received, limit);
            if is_idle {
                upgrade_offer::ignore(&mut received[..length]);
            }
            buffer.put_slice(&received[..length]);
            // Both parts are adjacent in memory, so that nothing is copied.
            let mut rest = received;
            rest.advance(length);
            rest.unsplit(self.withheld.split());
            self.withheld = rest;
        }
        self.note_withheld();
        Poll::Ready(Ok(()))
    }

    /// Returns the number of bytes at the beginning of `received` that the HTTP framework may get
    /// now, and counts them as delivered. These are the bytes up to the next empty line, or at most
    /// `limit` bytes.
    fn pass(&mut self, received: &[u8], limit: Option<u64>) -> usize {
        let (length, ends_with_empty_line) = match limit {
            Some(limit) => (usize::try_from(limit).unwrap_or(usize::MAX), false),
            None => {
                // Empty lines before a request line do not end a request head (RFC 9112, section
                // 2.2).
                let leading = if self.connection.is_idle() {
                    upgrade_offer::empty_lines_before_head(received)
                } else {
                    0
                };
                match self.empty_lines.next(&received[leading..]) {
                    Some(length) => (leading + length, true),
                    None => (received.len(), false),
                }
            }
        };
        let length = length.min(received.len());
        self.is_at_boundary = ends_with_empty_line;
        self.connection
            .note_delivered(&received[..length], ends_with_empty_line);
        length
    }

    fn note_withheld(&self) {
        let is_withholding = self.has_ended || !self.withheld.is_empty();
        self.connection.set_withholding(is_withholding);
    }

    /// Receives bytes without delivering them, to learn whether the client has disconnected.
    ///
    /// If the client has closed its side, it may have disconnected, or it may still wait for the
    /// response. A request that changes nothing is therefore answered. Any other request is
    /// aborted: a login, for example, must not leave a session whose token no client has received.
    fn poll_withhold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_at_boundary = false;
        while !self.has_ended && self.withheld.len() < MAX_WITHHELD {
            let mut piece = [MaybeUninit::uninit(); 1_024];
            let mut piece = ReadBuf::uninit(&mut piece);
            match self.poll_receive(cx, &mut piece) {
                Poll::Ready(Ok(())) if piece.filled().is_empty() => self.has_ended = true,
                Poll::Ready(Ok(())) => self.withheld.extend_from_slice(piece.filled()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        let will_deliver = self.connection.is_idle() && !self.withheld.is_empty();
        if self.has_ended && !will_deliver && !self.connection.is_serving_safe_request() {
            return Poll::Ready(Ok(()));
        }
        self.note_withheld();
        self.poll_idle(cx)
    }

    /// Waits until more can be delivered. If the deadline has passed or the connection must make
    /// room for another connection, the stream reports its end, as if the client had disconnected.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_at_boundary = false;
        if self.connection.place().poll_closing(cx).is_ready() && self.connection.makes_room() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_overdue(cx));
        self.end_overdue(cx)
    }

    /// Reports the end of the stream, because the deadline of the connection has passed. If the
    /// client has begun a request head, sends a 408 response first.
    fn end_overdue(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.close_overdue_head() {
            // Nothing else is being written, so the short response fits into the send buffer. If
            // the connection is broken, the client does not need the response.
            let response = head_timeout::response();
            let _ = Pin::new(&mut *self.io.borrow_mut()).poll_write(cx, response.as_bytes());
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.connection.delivery() {
            Delivery::End => Poll::Ready(Ok(())),
            Delivery::Nothing => self.poll_withhold(cx),
            // A client that does not read its responses must not cause further responses, because
            // they would take more and more memory.
            Delivery::UntilEmptyLine if self.write_timer.is_some() => self.poll_withhold(cx),
            Delivery::UntilEmptyLine => self.poll_deliver(cx, buffer, None),
            Delivery::AtMost(limit) => self.poll_deliver(cx, buffer, Some(limit)),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ClientStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim_response(cx))?;
        if self.connection.interim_response().holds_back(bytes) {
            return Poll::Ready(Ok(CONTINUE.len()));
        }
        let written = Pin::new(&mut *self.io.borrow_mut()).poll_write(cx, bytes);
        let written = self.bounded_write(cx, written);
        if let Poll::Ready(Ok(length)) = written {
            self.note_written(length);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The framework flushes at every poll of a connection, but does not read while a request
        // body waits in its buffer. Without a timer set here, nothing would wake the task in that
        // state.
        if self.poll_overdue(cx).is_ready() {
            let _ = self.wake_at(Instant::now() + OVERDUE_RECHECK_INTERVAL, cx);
        }
        ready!(self.poll_interim_response(cx))?;
        let flushed = Pin::new(&mut *self.io.borrow_mut()).poll_flush(cx);
        self.bounded_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = Pin::new(&mut *self.io.borrow_mut()).poll_shutdown(cx);
        self.bounded_write(cx, shut_down)
    }
}

#[cfg(test)]
mod tests;
