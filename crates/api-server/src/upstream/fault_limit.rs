//! Rate limit for log lines about faults of sites.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tee_session_domain::LogLimit;
use tee_session_upstream::Site;

/// Minimum interval between two log lines about faults of one site with the same cause.
const INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of stored entries: pairs of an origin and a cause, each with the time of its last
/// log line. If there are more entries, those older than [`INTERVAL`] are removed. The others are
/// fewer than this maximum, because at most 10 lines per second are logged.
const MAX_FAULTS: usize = 1_024;

/// Rate limits for log lines about faults of sites: one for each origin and cause, and one for all
/// lines together. The base URLs of sessions determine the origins, so only the second limit bounds
/// the total number of lines.
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

    /// Counts a fault of `site` at the time `now`. If the limits allow a log line, calls `log` with
    /// the number of faults that were not logged, see [`next`](Self::next), or with `None` if there
    /// were none.
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

    /// Counts a fault of `site` at the time `now`. Returns `None` if the limits do not allow a log
    /// line. Otherwise returns the number of faults that were not logged: those of this origin and
    /// cause since their last line, and those of all origins that the common limit has left out
    /// since the last line. Counts of entries that were removed because of [`MAX_FAULTS`] are lost.
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
    fn faults_of_one_origin_and_cause_are_logged_once_per_minute() {
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
    fn faults_of_all_origins_together_are_logged_up_to_the_limit_per_second() {
        let (limit, now) = (FaultLimit::per_second(2), Instant::now());
        let logged = [1, 2, 3, 4].map(|port| limit.next(&site(port), "tls", now));
        assert_eq!(logged, [Some(0), Some(0), None, None]);
    }

    #[test]
    fn faults_older_than_a_minute_are_removed_if_more_than_1024_are_stored() {
        let (limit, now) = (FaultLimit::per_second(u32::MAX), Instant::now());
        for port in 1..=MAX_FAULTS {
            assert_eq!(limit.next(&site(port), "tls", now), Some(0));
        }
        let later = now + INTERVAL;
        assert_eq!(limit.next(&site(1), "name", later), Some(0));
        assert_eq!(limit.logged.lock().unwrap().len(), 1);
    }
}
