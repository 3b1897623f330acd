//! Rate limit for log lines about faults of sites.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tee_session_domain::LogLimit;
use tee_session_upstream::Site;

/// Minimum interval between two log lines about one cause of faults of one site.
const INTERVAL: Duration = Duration::from_secs(60);

/// Number of faults from which on outdated faults are removed. It is larger than the number of
/// lines within [`INTERVAL`] (10 per second), so it is also the maximum number of faults.
const MAX_FAULTS: usize = 1_024;

/// Rate limit for log lines about faults of sites: separate for each origin and cause, and for all
/// of them together. Sessions determine the origins, so the number of origins has no limit of its
/// own.
pub(super) struct FaultLimit {
    together: LogLimit,
    logged: Mutex<HashMap<(Site, &'static str), Logged>>,
}

struct Logged {
    at: Instant,
    unlogged: u64,
}

impl Logged {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < INTERVAL
    }
}

impl FaultLimit {
    pub(super) fn per_second(max_per_second: u32) -> Self {
        Self {
            together: LogLimit::per_second(max_per_second),
            logged: Mutex::default(),
        }
    }

    /// Counts a fault of `site` at the time `now`, and calls `log` unless the fault must not be
    /// logged. The argument of `log` is the number of unlogged faults, see [`next`](Self::next), or
    /// `None` if there were none.
    pub(super) fn log(
        &self,
        site: &Site,
        cause: &'static str,
        now: Instant,
        log: impl FnOnce(Option<u64>),
    ) {
        if let Some(unlogged) = self.next(site, cause, now) {
            log((unlogged > 0).then_some(unlogged));
        }
    }

    /// Counts a fault of `site` at the time `now`. Returns `None` if the fault must not be logged.
    /// Otherwise returns the number of unlogged faults: those of this origin and cause since their
    /// last line, and those that the limit on all faults has left out since the last line. If there
    /// are more than [`MAX_FAULTS`] faults, the counts of outdated ones are lost.
    fn next(&self, site: &Site, cause: &'static str, now: Instant) -> Option<u64> {
        let mut faults = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = (site.clone(), cause);
        if let Some(logged) = faults.get_mut(&fault)
            && logged.is_recent(now)
        {
            logged.unlogged += 1;
            return None;
        }
        let left_out = self.together.next()?;
        let line = Logged {
            at: now,
            unlogged: 0,
        };
        let former = faults.insert(fault, line);
        if faults.len() > MAX_FAULTS {
            faults.retain(|_, logged| logged.is_recent(now));
        }
        Some(left_out + former.map_or(0, |former| former.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(port: usize) -> Site {
        Site::of_url(&format!("http://golf.example:{port}")).unwrap()
    }

    #[test]
    fn each_cause_has_one_line_per_minute_and_origin() {
        let (limit, began) = (FaultLimit::per_second(100), Instant::now());
        let at = |port, cause, seconds| {
            let now = began + Duration::from_secs(seconds);
            limit.next(&site(port), cause, now)
        };
        assert_eq!(at(1, "tls", 0), Some(0));
        assert_eq!([at(1, "tls", 1), at(1, "tls", 59)], [None, None]);
        assert_eq!([at(2, "tls", 59), at(1, "name", 59)], [Some(0); 2]);
        assert_eq!([at(1, "tls", 60), at(1, "tls", 61)], [Some(2), None]);
    }

    #[test]
    fn all_origins_together_have_a_limit_per_second() {
        let (limit, now) = (FaultLimit::per_second(2), Instant::now());
        let logged = [1, 2, 3, 4].map(|port| limit.next(&site(port), "tls", now));
        assert_eq!(logged, [Some(0), Some(0), None, None]);
    }

    #[test]
    fn outdated_faults_are_removed() {
        let (limit, now) = (FaultLimit::per_second(u32::MAX), Instant::now());
        for port in 1..=MAX_FAULTS {
            assert_eq!(limit.next(&site(port), "tls", now), Some(0));
        }
        let later = now + INTERVAL;
        assert_eq!(limit.next(&site(1), "name", later), Some(0));
        assert_eq!(limit.logged.lock().unwrap().len(), 1);
    }
}
