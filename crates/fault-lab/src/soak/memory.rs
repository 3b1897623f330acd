//! Growth of the memory of an instance during the soak test.

use std::{ops::Range, time::Duration};

/// Period of the test in which the memory is measured again. By then, the buffers have their final
/// size, so the memory should hardly grow afterwards. The highest value in this period is the start
/// value for [`MAX_LATE_GROWTH`].
const SETTLED: Range<Duration> = Duration::from_secs(300)..Duration::from_secs(360);

/// Maximum growth of the resident memory since the start of the test, in kilobytes.
const MAX_GROWTH: u64 = 16 * 1_024;

/// Maximum growth of the resident memory after [`SETTLED`], in kilobytes. A leak would exceed it in
/// a long test.
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
        if SETTLED.contains(&elapsed) {
            self.settled = self.settled.max(Some(resident));
        }
    }

    /// Returns `true` if `at_end`, the memory at the end of the test, exceeds neither limit.
    pub(super) fn is_within_limits(&self, at_end: u64) -> bool {
        at_end <= self.at_start + MAX_GROWTH
            && self
                .settled
                .is_none_or(|settled| at_end <= settled + MAX_LATE_GROWTH)
    }

    /// Formats the memory at the start, in the period [`SETTLED`] (if the test lasted until then),
    /// and at the end (`at_end`).
    pub(super) fn text(&self, at_end: u64) -> String {
        let settled = self.settled;
        let settled = settled.map(|settled| format!("{settled} kB after 5 min, "));
        let (at_start, settled) = (self.at_start, settled.unwrap_or_default());
        format!("{at_start} kB after 2 s, {settled}{at_end} kB at the end")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::short_test(&[(60, 30_000)], 36_000, true)]
    #[case::growth_in_a_short_test(&[(60, 30_000)], 36_385, false)]
    #[case::growth_after_the_start_only(&[(299, 0), (301, 30_000), (350, 29_000)], 36_000, true)]
    #[case::late_growth(&[(301, 29_000), (361, 35_000)], 35_500, false)]
    fn memory_may_grow_by_16_mib_in_total_but_only_by_6_mib_after_the_first_minutes(
        #[case] measured: &[(u64, u64)],
        #[case] at_end: u64,
        #[case] is_within_limits: bool,
    ) {
        let mut memory = Memory::new(20_000);
        for (seconds, resident) in measured {
            memory.note(Duration::from_secs(*seconds), *resident);
        }
        assert_eq!(memory.is_within_limits(at_end), is_within_limits);
    }
}
