//! Settings of the test clients.

use std::time::Duration;

/// Default pause between two requests of one client.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// Settings that control the behaviour of the test clients.
pub(crate) struct Habits {
    /// Pause between two requests of one client.
    pub(crate) pause: Duration,
    /// Pause between two requests when [`Shared::check_all`](super::Shared::check_all) reads every
    /// session.
    pub(crate) check_pause: Duration,
    /// Id and secret of the service client that creates and revokes sessions. `None` if the service
    /// accepts such requests without credentials.
    pub(crate) credentials: Option<(String, String)>,
    /// `true` if the clients may send an `Idempotency-Key` with requests that create or rotate a
    /// session. `false` if one of the instances is an older binary, which ignores the key.
    pub(crate) uses_idempotency_keys: bool,
    /// `true` if half of the updates are merges of `Set-Cookie` lines. `false` if an instance may
    /// run an older binary without this operation.
    pub(crate) merges_cookies: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            pause: PAUSE,
            check_pause: Duration::ZERO,
            credentials: None,
            uses_idempotency_keys: true,
            merges_cookies: true,
        }
    }
}
