//! State of a client connection. The stream of the connection and the requests on the connection
//! share this state.

use std::{cell::Cell, rc::Rc, time::Duration};

use actix_web::{
    dev::RequestHead,
    http::{
        ConnectionType,
        header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    },
};
use tokio::time::Instant;

use crate::server::{connection_limits::Place, interim_response::InterimResponse};

/// Timeout for receiving a request head, measured from its first byte, or from the start of the
/// connection for the first request.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time for which an idle connection stays open. This time is longer than the idle timeout
/// of most load balancers (60 s), so that the load balancer and not the server closes an idle
/// connection.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Shared handle to the state of a connection. The connection and its requests use clones of one
/// handle.
#[derive(Debug, Clone)]
pub(crate) struct Connection(Rc<State>);

#[derive(Debug)]
struct State {
    phase: Cell<Phase>,
    /// Part of the current request's body that has not been delivered.
    body: Cell<Body>,
    /// Set if the current request has a safe method, such as `GET` (RFC 9110, section 9.2.1). A
    /// request with a safe method changes nothing.
    is_safe_request: Cell<bool>,
    /// Set if the connection must close after the response to the current request.
    is_last_request: Cell<bool>,
    /// Set from the head of the response to the current request to the end of its body.
    is_answering: Cell<bool>,
    /// Set while a response cannot be written, because the client does not read.
    is_write_blocked: Cell<bool>,
    /// Set while received bytes are withheld from the framework.
    is_withholding: Cell<bool>,
    interim_response: InterimResponse,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No byte of a request has arrived since the last response, or since the connection was
    /// opened.
    Idle { since: Instant, has_answered: bool },
    /// The first bytes of a request head have arrived, but not the whole head.
    HeadArriving { since: Instant },
    /// A request is being handled, or its response is being encoded.
    Serving,
    /// The last response of the connection was encoded. Nothing that arrives is delivered.
    Closing,
}

/// Part of a request body that has not been delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// The rest of the body has this number of bytes.
    Bytes(u64),
    /// Only the framework knows where the body ends (a chunked body, or an upgrade request).
    /// `is_awaited` is set while the handler waits for more of the body.
    Unknown { is_awaited: bool },
}

/// Number of received bytes that may be delivered to the framework now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// All bytes up to the next empty line. Such a line may end a request head or a chunked body.
    UntilEmptyLine,
    /// At most this number of bytes. They belong to the body of the current request.
    AtMost(u64),
    /// No bytes, until the current request is answered or its handler waits for its body.
    Nothing,
    /// No bytes any more, because the connection closes.
    End,
}

impl Connection {
    pub(crate) fn new(place: Place) -> Self {
        Self(Rc::new(State {
            phase: Cell::new(Phase::Idle {
                since: Instant::now(),
                has_answered: false,
            }),
            body: Cell::new(Body::Bytes(0)),
            is_safe_request: Cell::new(false),
            is_last_request: Cell::new(false),
            is_answering: Cell::new(false),
            is_write_blocked: Cell::new(false),
            is_withholding: Cell::new(false),
            interim_response: InterimResponse::default(),
            place,
        }))
    }

    /// Returns the place of the connection within the limits of the listener.
    pub(crate) fn place(&self) -> &Place {
        &self.0.place
    }

    /// Marks a request as being handled until the returned guard is dropped.
    pub(crate) fn serve(&self, request: &RequestHead) -> Served {
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
        self.0.body.set(match length {
            Some(length) => Body::Bytes(length),
            None if is_chunked || request.upgrade() => Body::Unknown { is_awaited: false },
            None => Body::Bytes(0),
        });
        // The framework treats all bytes after the head of an upgrade request as its body.
        let is_last = request.connection_type() != ConnectionType::KeepAlive || request.upgrade();
        self.0.is_last_request.set(is_last);
        self.0.is_safe_request.set(request.method.is_safe());
        self.0.is_answering.set(false);
        self.0.interim_response.begin(request.expect());
        self.0.phase.set(Phase::Serving);
        self.0.place.set_busy();
        Served(self.clone())
    }

    /// Returns the interim response to the current request.
    pub(crate) fn interim_response(&self) -> &InterimResponse {
        &self.0.interim_response
    }

    /// Records that a handler starts to read the body of the current request. If the client waits
    /// for `100 Continue`, it is sent now.
    pub(crate) fn expect_body(&self) {
        self.0.interim_response.expect_body();
    }

    /// Returns `true` if the next byte that is delivered begins a request.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.0.phase.get(), Phase::Idle { .. })
    }

    /// Records that the handler waits for more of the request body.
    pub(crate) fn await_body(&self) {
        if let Body::Unknown { is_awaited: false } = self.0.body.get() {
            self.0.body.set(Body::Unknown { is_awaited: true });
            if self.is_withholding() {
                self.0.place.wake();
            }
        }
    }

    /// Records that the body of the current request was read to its end.
    pub(crate) fn set_body_read(&self) {
        self.0.body.set(Body::Bytes(0));
    }

    /// Records that the handler has returned the response to the current request.
    pub(crate) fn begin_response(&self) {
        self.0.is_answering.set(true);
    }

    /// Closes the connection after the response to the current request.
    pub(crate) fn close_after_response(&self) {
        self.0.is_last_request.set(true);
    }

    /// Returns `true` if the connection must close after the response to the current request. There
    /// are three such cases: the client has requested the close, the connection must make room for
    /// others, or the body of the request was not read to its end. In the third case, the next
    /// request begins only after the end of that body, and the rest of the body may never arrive.
    pub(crate) fn must_close(&self) -> bool {
        let has_unread_body = self.0.body.get() != Body::Bytes(0);
        let place = &self.0.place;
        self.0.is_last_request.get() || has_unread_body || place.is_closing() || place.is_reserved()
    }

    /// Returns the number of received bytes that may be delivered to the framework now.
    pub(crate) fn delivery(&self) -> Delivery {
        match (self.0.phase.get(), self.0.body.get()) {
            (Phase::Closing, _) => Delivery::End,
            (Phase::Serving, Body::Bytes(0) | Body::Unknown { is_awaited: false }) => {
                Delivery::Nothing
            }
            (Phase::Serving, Body::Bytes(rest)) => Delivery::AtMost(rest),
            (Phase::Serving, Body::Unknown { is_awaited: true }) => Delivery::UntilEmptyLine,
            _ if self.makes_room() => Delivery::End,
            _ => Delivery::UntilEmptyLine,
        }
    }

    /// Records that `bytes` were delivered to the framework. If `ends_with_empty_line` is `true`,
    /// these bytes may be the end of a chunked body.
    pub(crate) fn note_delivered(&self, bytes: &[u8], ends_with_empty_line: bool) {
        match (self.0.phase.get(), self.0.body.get()) {
            (Phase::Serving, Body::Bytes(rest)) => {
                let rest = rest.saturating_sub(bytes.len() as u64);
                self.0.body.set(Body::Bytes(rest));
            }
            (Phase::Serving, Body::Unknown { .. }) if ends_with_empty_line => {
                self.0.body.set(Body::Unknown { is_awaited: false });
            }
            // Empty lines before a request line do not begin a request head (RFC 9112, section
            // 2.2).
            (
                Phase::Idle {
                    since,
                    has_answered,
                },
                _,
            ) if bytes.iter().any(|b| !matches!(b, b'\r' | b'\n')) => {
                let now = Instant::now();
                let since = if has_answered { now } else { since };
                self.0.phase.set(Phase::HeadArriving { since });
                self.0.place.set_idle(now);
            }
            _ => {}
        }
    }

    /// Returns the deadline of the current phase of the connection. Returns `None` if the phase has
    /// no deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.0.phase.get() {
            Phase::Idle {
                since,
                has_answered: true,
            } => Some(since + IDLE_TIMEOUT),
            Phase::Idle { since, .. } | Phase::HeadArriving { since } => Some(since + HEAD_TIMEOUT),
            Phase::Serving | Phase::Closing => None,
        }
    }

    /// Returns `true` if a request head has been arriving for too long.
    pub(crate) fn is_head_overdue(&self) -> bool {
        match self.0.phase.get() {
            Phase::HeadArriving { since } => since.elapsed() >= HEAD_TIMEOUT,
            _ => false,
        }
    }

    /// If a request head has been arriving for too long, marks the connection as closing and
    /// returns `true`. The caller must then send a 408 response.
    pub(crate) fn close_overdue_head(&self) -> bool {
        let is_overdue = self.is_head_overdue();
        if is_overdue {
            self.0.phase.set(Phase::Closing);
        }
        is_overdue
    }

    /// Returns `true` if a request is being handled and has a safe method, such as `GET` (RFC 9110,
    /// section 9.2.1). A request with a safe method changes nothing.
    pub(crate) fn is_serving_safe_request(&self) -> bool {
        matches!(self.0.phase.get(), Phase::Serving) && self.0.is_safe_request.get()
    }

    /// Returns `true` if the connection must close now: another connection needs its place, and no
    /// request is being handled. If the client does not read the response to a request, the request
    /// no longer counts as being handled.
    pub(crate) fn makes_room(&self) -> bool {
        self.0.place.is_closing()
            && (!matches!(self.0.phase.get(), Phase::Serving) || self.is_response_blocked())
    }

    fn is_response_blocked(&self) -> bool {
        self.0.is_answering.get() && self.0.is_write_blocked.get()
    }

    /// Records that a response cannot be written at the moment, because the client does not read.
    pub(crate) fn note_write_blocked(&self) {
        if !self.0.is_write_blocked.replace(true) && self.is_response_blocked() {
            self.0.place.set_idle(Instant::now());
        }
        self.0.place.set_write_blocked(true);
    }

    /// Records that the client reads again.
    pub(crate) fn note_write_unblocked(&self) {
        self.0.is_write_blocked.set(false);
        if matches!(self.0.phase.get(), Phase::Serving) {
            self.0.place.set_busy();
        } else {
            self.0.place.set_idle(Instant::now());
        }
        self.0.place.set_write_blocked(false);
    }

    /// Returns `true` if the client may still have to read a response that was sent within the last
    /// `period`.
    pub(crate) fn has_answered_within(&self, period: Duration) -> bool {
        match self.0.phase.get() {
            Phase::Idle {
                since,
                has_answered,
            } => has_answered && since.elapsed() < period,
            // The framework itself answers an unreadable head, and the stream a slow head.
            Phase::HeadArriving { .. } | Phase::Closing => true,
            Phase::Serving => false,
        }
    }

    /// Returns `true` if received bytes are withheld from the framework.
    pub(crate) fn is_withholding(&self) -> bool {
        self.0.is_withholding.get()
    }

    /// Records that received bytes are withheld from the framework (`true`), or that no bytes are
    /// withheld (`false`). When withheld bytes may be delivered, the task that called
    /// [`poll_closing`](Place::poll_closing) last is woken.
    pub(crate) fn set_withholding(&self, is_withholding: bool) {
        self.0.is_withholding.set(is_withholding);
    }
}

/// Guard that marks a request as being handled until the guard is dropped.
#[must_use]
#[derive(Debug)]
pub(crate) struct Served(Connection);

impl Served {
    /// Returns the connection of the request.
    pub(crate) fn connection(&self) -> &Connection {
        &self.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let Self(connection) = self;
        let since = Instant::now();
        let phase = if connection.must_close() {
            Phase::Closing
        } else {
            Phase::Idle {
                since,
                has_answered: true,
            }
        };
        connection.0.phase.set(phase);
        connection.0.place.set_idle(since);
        // The framework reads only when it is woken: for the next request, or for the end of the
        // connection.
        if connection.is_withholding() || matches!(phase, Phase::Closing) {
            connection.0.place.wake();
        }
    }
}
