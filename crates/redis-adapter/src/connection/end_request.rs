//! A request to end a connection. The request is made, for example, after an error reply that makes
//! the connection useless.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{command::Reply, end_reason::End};

/// Codes of error replies that end the connection. An error with one of these codes means that the
/// server is a replica, is loading its data, belongs to a cluster that is down, or requires other
/// credentials. The next attempt to connect may reach a usable server.
const ENDING_CODES: [&str; 6] = [
    "READONLY",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "NOAUTH",
    "WRONGPASS",
];

/// Holds the first reason for which the end of the connection was requested.
#[derive(Debug, Default)]
pub(super) struct EndRequest {
    reason: Mutex<Option<End>>,
    found: Notify,
}

impl EndRequest {
    /// Requests the end of the connection because of `reason`. The background task of the
    /// connection then ends the connection. If another reason was reported before, the first reason
    /// is kept.
    pub(super) fn report(&self, reason: End) {
        self.reason().get_or_insert(reason);
        self.found.notify_one();
    }

    /// Requests the end of the connection if `reply` is an error with one of the [`ENDING_CODES`].
    pub(super) fn check(&self, reply: &Reply) {
        let Reply::Error(text) = reply else {
            return;
        };
        let ends = |code: &&str| {
            let rest = text.strip_prefix(code.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest[0] == b' ')
        };
        if let Some(code) = ENDING_CODES.into_iter().find(ends) {
            self.report(End::Refused(code));
        }
    }

    /// Waits until the end of the connection is requested, and returns the reason.
    pub(super) async fn found(&self) -> End {
        loop {
            if let Some(reason) = self.reason().clone() {
                return reason;
            }
            self.found.notified().await;
        }
    }

    /// Locks the reason for the end of the connection. Ignores lock poisoning, because no code
    /// panics while the lock is held.
    fn reason(&self) -> MutexGuard<'_, Option<End>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::readonly_ends(
        "READONLY You can't write against a read only replica.",
        Some("READONLY")
    )]
    #[case::loading_without_text_ends("LOADING", Some("LOADING"))]
    #[case::longer_word_does_not_end("NOAUTHS x", None)]
    #[case::oom_does_not_end("OOM command not allowed", None)]
    #[case::noperm_does_not_end("NOPERM this user has no permissions", None)]
    #[case::empty_error_does_not_end("", None)]
    fn error_reply_ends_the_connection_only_for_codes_such_as_readonly_or_loading(
        #[case] text: &'static str,
        #[case] code: Option<&'static str>,
    ) {
        let end_request = EndRequest::default();
        end_request.check(&Reply::Error(text.into()));
        assert_eq!(end_request.found().now_or_never(), code.map(End::Refused));
    }

    #[tokio::test]
    async fn first_of_two_reasons_to_end_the_connection_is_kept() {
        let end_request = EndRequest::default();
        end_request.report(End::OutOfStep);
        end_request.report(End::Refused("NOAUTH"));
        assert_eq!(end_request.found().await, End::OutOfStep);
    }
}
