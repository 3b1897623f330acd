//! Time limits of the requests that the test clients send.

use std::time::Duration;

/// Maximum duration of a request that neither creates a session nor rotates a token. The value is
/// twice the default Redis command timeout (`redis_command_timeout_ms`, 500 ms), which all
/// instances of the fault lab use.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// Maximum duration of a request that creates a session or rotates a token. The value is five times
/// the default Redis command timeout.
pub(super) const CREATED_WITHIN: Duration = Duration::from_millis(2_500);

/// Tolerance that is added to the maximum duration of a request. The measurement is imprecise even
/// after the [`MachineDelay`](crate::machine_delay::MachineDelay) (waits for a CPU core) is
/// subtracted, because the clients share the CPU cores with the service.
pub(super) const TOLERANCE: Duration = Duration::from_millis(200);

/// If the fault lab waits for a CPU core at least this long during a request, a response 503
/// `store_unavailable` does not count as a failure of the service.
pub(super) const BUSY_MACHINE: Duration = Duration::from_millis(100);

/// Timeout after which a client stops waiting for a response.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
