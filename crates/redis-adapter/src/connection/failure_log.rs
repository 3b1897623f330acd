//! Log messages about failed attempts to connect.

use std::time::Duration;

use tokio::time::Instant;

use super::{explanation::Explanation, handshake::ConnectFault};
use crate::RedisSettings;

/// Minimum interval between two log messages about failed attempts to connect.
const INTERVAL: Duration = Duration::from_secs(30);

/// Rate limit for log messages about failed attempts to connect. The first failure is logged at
/// once. Further failures are logged at most every 30 s. Each message contains the number of failed
/// attempts so far.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    attempts: u64,
    last_logged: Option<Instant>,
}

impl FailureLog {
    /// Counts a failed attempt to connect to the server in `settings`. If the last message is at
    /// least [`INTERVAL`] old, also finds the cause of the failure and logs it.
    pub(crate) fn log(&mut self, settings: RedisSettings, fault: ConnectFault) {
        self.attempts += 1;
        let is_due = self
            .last_logged
            .is_none_or(|last| last.elapsed() >= INTERVAL);
        if is_due {
            self.last_logged = Some(Instant::now());
            let attempts = self.attempts;
            // The search for the cause takes time. It runs in a separate task, so that the next
            // attempt to connect does not wait for the result.
            tokio::spawn(async move {
                let server = settings.server_name();
                let explanation = Explanation::find(&settings, &server, fault).await;
                tracing::warn!(
                    server,
                    attempts,
                    reason = explanation.what,
                    advice = explanation.advice,
                    "Redis connection attempt failed: trying again"
                );
            });
        }
    }
}
