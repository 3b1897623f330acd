//! Evaluation of the replies and faults of commands. The evaluation can open or close the circuit
//! breaker, and end the connection.

use super::{client::Client, command::Reply, end_reason::End};
use crate::RedisFault;

impl Client {
    /// Records in the circuit breaker that Redis replied. If one of `replies` is an error that
    /// makes the connection useless, such as `READONLY`, ends the connection.
    pub(super) fn note_replies<'a>(&self, replies: impl IntoIterator<Item = &'a Reply>) {
        self.breaker.note_reply();
        for reply in replies {
            self.end_request.check(reply);
        }
    }

    /// Handles the fault of a command. If the command got no reply, the circuit breaker counts the
    /// fault. If the reply had an unexpected type, the connection is ended. Faults of a connection
    /// that has already ended are ignored.
    pub(super) fn note_fault(&self, fault: &RedisFault) {
        match fault {
            // The connection of this client has ended. The next connection uses the same circuit
            // breaker, which must not count this fault.
            _ if self.ended.is_set() => {}
            RedisFault::TimedOut { .. } | RedisFault::Disconnected { .. } => {
                self.breaker.note_timeout();
            }
            RedisFault::Unexpected { .. } => self.end_request.report(End::OutOfStep),
            // Nothing to do: Redis replied, or the command was not sent.
            _ => {}
        }
    }
}
