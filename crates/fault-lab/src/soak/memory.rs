//! Growth of the memory of an instance during the soak test.

use std::time::Duration;

/// Time after which the memory of an instance no longer grows: its buffers have their final size.
const SETTLED_AFTER: Duration = Duration::from_secs(300);

/// Maximum growth of the resident memory since the start of the test, in kilobytes.
const MAX_GROWTH: u64 = 16 * 1_024;

/// Maximum growth of the resident memory after [`SETTLED_AFTER`], in kilobytes. A leak would exceed
/// it in a long test.
const MAX_LATE_GROWTH: u64 = 6 * 1_024;

/// Resident memory of an instance, in kilobytes.
pub(super) struct Memory {
    at_start: u64,
    settled: Option<u64>,
}

impl Memory {
    pub(super) fn new(at_start: u64) -> Self {
        Self {
            at_start,
            settled: None,
        }
    }

    /// Records the memory `resident`, which was measured after the time `elapsed`.
    pub(super) fn note(&mut self, elapsed: Duration, resident: u64) {
        if elapsed >= SETTLED_AFTER {
            self.settled.get_or_insert(resident);
        }
    }

    /// Returns `true` if the memory has grown to `at_end` within the limits.
    pub(super) fn is_within_limits(&self, at_end: u64) -> bool {
        at_end <= self.at_start + MAX_GROWTH
            && self
                .settled
                .is_none_or(|settled| at_end <= settled + MAX_LATE_GROWTH)
    }

    /// Returns the memory at each time that was recorded, and `at_end`, as text.
    pub(super) fn text(&self, at_end: u64) -> String {
        let settled = self
            .settled
            .map(|settled| format!("{settled} kB after 5 min, "));
        let (at_start, settled) = (self.at_start, settled.unwrap_or_default());
        format!("{at_start} kB after 2 s, {settled}{at_end} kB at the end")
    }
}
