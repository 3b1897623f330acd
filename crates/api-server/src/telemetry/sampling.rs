//! Sampling of traces: selects the requests whose spans are exported.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use opentelemetry::trace::SpanContext;

/// Selects the requests whose spans are exported as traces.
///
/// A request with a trace context is selected if the `sampled` flag in its `traceparent` header is
/// set. Of the requests without a trace context, a fixed ratio is selected. The number of selected
/// requests per second is limited, because any client can set the `sampled` flag.
///
/// Clones of a `TraceSampling` share one limit per second.
#[derive(Debug, Clone)]
pub struct TraceSampling {
    ratio: f64,
    max_per_second: NonZeroU32,
    started: Instant,
    /// Upper 32 bits: seconds since `started`. Lower 32 bits: number of requests that were selected
    /// in that second.
    recorded: Arc<AtomicU64>,
}

impl TraceSampling {
    /// Creates a sampling that selects the fraction `ratio` (0 to 1) of the requests without a
    /// trace context, and at most `max_per_second` requests per second in total.
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
        let is_selected = match caller {
            Some(caller) => caller.is_sampled(),
            None => fastrand::f64() < self.ratio,
        };
        is_selected && self.is_within_limit_at(self.started.elapsed().as_secs())
    }

    fn is_within_limit_at(&self, second: u64) -> bool {
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
    #[case::no_caller_and_ratio_1(1.0, None, true)]
    #[case::no_caller_and_ratio_0(0.0, None, false)]
    #[case::caller_is_sampled(0.0, Some(TraceFlags::SAMPLED), true)]
    #[case::caller_is_not_sampled(1.0, Some(TraceFlags::NOT_SAMPLED), false)]
    fn sampled_flag_of_the_trace_context_takes_precedence_over_the_ratio(
        #[case] ratio: f64,
        #[case] flags: Option<TraceFlags>,
        #[case] expected: bool,
    ) {
        let caller = flags.map(caller);
        assert_eq!(sampling(ratio, 10).records(caller.as_ref()), expected);
    }

    #[test]
    fn ratio_one_half_selects_about_half_of_the_requests() {
        let sampling = sampling(0.5, u32::MAX);
        let recorded = (0..10_000).filter(|_| sampling.records(None)).count();
        assert!((4_500..5_500).contains(&recorded), "{recorded}");
    }

    #[test]
    fn clones_of_a_trace_sampling_share_the_limit_of_requests_per_second() {
        let sampling = sampling(1.0, 3);
        for second in [0, 1, 7] {
            let clone = sampling.clone();
            let recorded = (0..10).filter(|_| clone.is_within_limit_at(second));
            assert_eq!(recorded.count(), 3);
        }
    }
}
