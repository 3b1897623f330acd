//! Holds back the interim response `100 Continue` until a handler reads the request body.

use std::cell::Cell;

/// The interim response that the framework writes for a request with `Expect: 100-continue`.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// State of the interim response to the current request of a connection.
///
/// A client that sends `Expect: 100-continue` waits before it sends the request body (RFC 9110,
/// section 10.1.1). The framework writes `100 Continue` before it calls the handler. If a request
/// is refused regardless of its body, for example for a wrong secret, the client would then send
/// the body for nothing. The connection therefore drops the interim response of the framework, and
/// sends one itself when a handler starts to read the body.
#[derive(Debug, Default)]
pub(crate) struct InterimResponse(Cell<State>);

#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// The client does not wait for an interim response, or has received it.
    #[default]
    NotAwaited,
    /// The client waits. The framework has not written the interim response yet.
    Awaited,
    /// The client waits. The interim response of the framework was dropped.
    HeldBack,
    /// A handler reads the body. `sent` bytes of the interim response have been sent.
    Sending { sent: usize },
}

impl InterimResponse {
    /// Begins a new request. `is_awaited` is `true` if the client waits for an interim response.
    pub(super) fn begin(&self, is_awaited: bool) {
        self.0.set(if is_awaited {
            State::Awaited
        } else {
            State::NotAwaited
        });
    }

    /// Records that a handler starts to read the request body.
    pub(super) fn expect_body(&self) {
        self.0.set(match self.0.get() {
            State::HeldBack => State::Sending { sent: 0 },
            // The interim response is still in the buffer of the framework. It is not dropped, so
            // the framework sends it.
            State::NotAwaited | State::Awaited => State::NotAwaited,
            sending @ State::Sending { .. } => sending,
        });
    }

    /// Returns `true` if `bytes`, which the framework writes to the connection, begin with an
    /// interim response that must be dropped.
    pub(super) fn holds_back(&self, bytes: &[u8]) -> bool {
        let is_held_back = matches!(self.0.get(), State::Awaited) && bytes.starts_with(CONTINUE);
        if is_held_back {
            self.0.set(State::HeldBack);
        }
        is_held_back
    }

    /// Returns the bytes of the interim response that must be sent now, or an empty slice if no
    /// byte must be sent.
    pub(super) fn to_send(&self) -> &'static [u8] {
        match self.0.get() {
            State::Sending { sent } => CONTINUE.get(sent..).unwrap_or_default(),
            State::NotAwaited | State::Awaited | State::HeldBack => &[],
        }
    }

    /// Records that `len` more bytes of the interim response were sent.
    pub(super) fn note_sent(&self, len: usize) {
        if let State::Sending { sent } = self.0.get() {
            self.0.set(State::Sending { sent: sent + len });
        }
    }
}
