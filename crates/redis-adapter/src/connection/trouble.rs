//! Replies that show that a connection is of no use, and end it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{command::Reply, supervisor::End};

/// Codes of error replies after which another attempt to connect may lead to a better server: this one
/// is a replica, is loading, or accepts nobody who has not logged in.
const ENDING_CODES: [&str; 6] = [
    "READONLY",
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "NOAUTH",
    "WRONGPASS",
];

/// The first reason that was found to end one connection.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    reason: Mutex<Option<End>>,
    found: Notify,
}

impl Trouble {
    /// Ends the connection for `reason`, unless it has one already.
    pub(super) fn report(&self, reason: End) {
        self.reason().get_or_insert(reason);
        self.found.notify_one();
    }

    /// Ends the connection if `reply` says that it is of no use.
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

    /// Waits until there is a reason.
    pub(super) async fn found(&self) -> End {
        loop {
            if let Some(reason) = self.reason().clone() {
                return reason;
            }
            self.found.notified().await;
        }
    }

    /// Nothing panics while it is held.
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
    #[case::replica(
        "READONLY You can't write against a read only replica.",
        Some("READONLY")
    )]
    #[case::code_alone("LOADING", Some("LOADING"))]
    #[case::longer_word("NOAUTHS x", None)]
    #[case::full("OOM command not allowed", None)]
    #[case::permission("NOPERM this user has no permissions", None)]
    #[case::nothing("", None)]
    fn ends_a_connection_at_codes_that_make_it_useless(
        #[case] text: &'static str,
        #[case] code: Option<&'static str>,
    ) {
        let trouble = Trouble::default();
        trouble.check(&Reply::Error(text.into()));
        assert_eq!(trouble.found().now_or_never(), code.map(End::Refused));
    }

    #[tokio::test]
    async fn keeps_the_first_reason() {
        let trouble = Trouble::default();
        trouble.report(End::OutOfStep);
        trouble.report(End::Refused("NOAUTH"));
        assert_eq!(trouble.found().await, End::OutOfStep);
    }
}
