//! Conversion of errors of the client library fred to Redis replies and faults.

use fred::error::{Error as FredError, ErrorKind};

use super::command::Reply;
use crate::RedisFault;

/// Reason in [`RedisFault::Disconnected`] if the connection ended without a more exact reason.
pub(super) const ENDED: &str = "the connection ended";

/// Converts an error of the client library fred. An error that contains an error reply of Redis
/// becomes that reply. Any other error becomes a fault.
pub(super) fn error_reply(command: &'static str, error: &FredError) -> Result<Reply, RedisFault> {
    match error.kind() {
        // fred gives an error reply of Redis one of the kinds in this list, depending on the first
        // word of the reply.
        ErrorKind::Auth
        | ErrorKind::Cluster
        | ErrorKind::Config
        | ErrorKind::InvalidArgument
        | ErrorKind::InvalidCommand
        | ErrorKind::Unknown
            if RedisFault::has_code(error.details()) =>
        {
            Ok(Reply::Error(error.details().to_owned().into()))
        }
        _ => Err(fault(command, error)),
    }
}

/// Converts an error of the client library fred to a fault. The fault for an error reply of Redis
/// contains the error code of the reply.
pub(super) fn fault(command: &'static str, error: &FredError) -> RedisFault {
    match error.kind() {
        ErrorKind::Timeout => RedisFault::TimedOut { command },
        ErrorKind::Canceled => RedisFault::NotConnected { command },
        ErrorKind::IO | ErrorKind::Tls => RedisFault::Disconnected {
            command,
            reason: readable(error.details()).to_owned(),
        },
        ErrorKind::Parse | ErrorKind::NotFound | ErrorKind::InvalidArgument
            if !RedisFault::has_code(error.details()) =>
        {
            RedisFault::Unexpected { command }
        }
        _ if RedisFault::has_code(error.details()) => RedisFault::refusal(command, error.details()),
        // fred reports this kind for a command that was in flight when the task of fred was
        // aborted.
        ErrorKind::Unknown => RedisFault::Disconnected {
            command,
            reason: ENDED.to_owned(),
        },
        // Errors of other kinds may quote arguments of the command. The fault therefore contains
        // only the kind, not the details.
        kind => RedisFault::Disconnected {
            command,
            reason: kind.to_str().to_owned(),
        },
    }
}

/// Returns the message of an operating system error in `details`, for example `Connection reset by
/// peer`. The client library fred formats such an error in the `Debug` form of Rust, with the
/// message in `message: "..."`. Returns `details` unchanged if they have another form.
fn readable(details: &str) -> &str {
    let message = details.split_once("message: \"");
    let message = message.and_then(|(_, rest)| rest.split('"').next());
    message.unwrap_or(details)
}
