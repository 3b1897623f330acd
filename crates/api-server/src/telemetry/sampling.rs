//! Which requests are recorded.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use opentelemetry::trace::SpanContext;

/// Which requests are recorded as traces: those whose caller records its own (the flag `sampled` of
/// W3C Trace Context), and a part of those whose callers say nothing. However many that are, no more
/// than so many a second: anybody may set a flag.
///
/// Clones count together.
#[derive(Debug, Clone)]
pub struct TraceSampling {
    ratio: f64,
    max_per_second: NonZeroU32,
    started: Instant,
    /// The second since the start in the upper half, what was recorded in it in the lower one.
    recorded: Arc<AtomicU64>,
}

impl TraceSampling {
    /// Records `ratio` (0 to 1) of the requests whose callers leave it open, and at most
    /// `max_per_second` in all.
    #[must_use]
    pub fn new(ratio: f64, max_per_second: NonZeroU32) -> Self {
        Self {
            ratio,
            max_per_second,
            started: Instant::now(),
            recorded: Arc::new(AtomicU64::new(0)),
        }
    }

    pub(crate) fn records(&self, caller: Option<&SpanContext>) -> bool {
        let is_wanted = match caller {
            Some(caller) => caller.is_sampled(),
            None => fastrand::f64() < self.ratio,
        };
        is_wanted && self.is_among_the_first_at(self.started.elapsed().as_secs())
    }

    fn is_among_the_first_at(&self, second: u64) -> bool {
        let (second, max) = (second << 32, u64::from(self.max_per_second.get()));
        let count = |recorded: u64| {
            let in_this_second = recorded.saturating_sub(second);
            (in_this_second < max).then_some(second + in_this_second + 1)
        };
        let relaxed = Ordering::Relaxed;
        self.recorded.fetch_update(relaxed, relaxed, count).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::{SpanId, TraceFlags, TraceId};
    use rstest::rstest;

    use super::*;

    fn sampling(ratio: f64, max_per_second: u32) -> TraceSampling {
        TraceSampling::new(ratio, NonZeroU32::new(max_per_second).unwrap())
    }

    fn caller(flags: TraceFlags) -> SpanContext {
        let (trace, span) = (TraceId::from_bytes([1; 16]), SpanId::from_bytes([1; 8]));
        SpanContext::new(trace, span, flags, true, Default::default())
    }

    #[rstest]
    #[case::all_of_those_that_leave_it_open(1.0, None, true)]
    #[case::none_of_them(0.0, None, false)]
    #[case::the_caller_wants_it(0.0, Some(TraceFlags::SAMPLED), true)]
    #[case::the_caller_does_not(1.0, Some(TraceFlags::NOT_SAMPLED), false)]
    fn the_caller_decides_and_the_ratio_where_it_does_not(
        #[case] ratio: f64,
        #[case] flags: Option<TraceFlags>,
        #[case] expected: bool,
    ) {
        let caller = flags.map(caller);
        assert_eq!(sampling(ratio, 10).records(caller.as_ref()), expected);
    }

    #[test]
    fn half_is_about_half() {
        let sampling = sampling(0.5, u32::MAX);
        let recorded = (0..10_000).filter(|_| sampling.records(None)).count();
        assert!((4_500..5_500).contains(&recorded), "{recorded}");
    }

    #[test]
    fn no_second_has_more_than_the_most_whoever_asks() {
        let sampling = sampling(1.0, 3);
        for second in [0, 1, 7] {
            let clone = sampling.clone();
            let recorded = (0..10).filter(|_| clone.is_among_the_first_at(second));
            assert_eq!(recorded.count(), 3);
        }
    }
}
