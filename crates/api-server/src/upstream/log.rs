//! Log events of the gateway. No log event contains a query, a cookie or a complete token.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use actix_web::http::Method;
use tee_session_domain::{ErrorChain, LogLimit, SessionToken};
use tee_session_upstream::{LoginSignal, Outcome, Site, Target, UpstreamError};

use super::metrics::{SiteLabel, fault};

/// Minimum interval between two log lines about one kind of fault of one site.
const FAULT_INTERVAL: Duration = Duration::from_secs(60);

static FAULTS: LazyLock<LimitBySite> = LazyLock::new(LimitBySite::default);

static EXPIRED: LogLimit = LogLimit::per_second(10);

static LOST: LogLimit = LogLimit::per_second(10);

/// Rate limit for log lines about faults of sites, separate for each site and each kind of fault.
/// The number of sites is bounded by the number of entries in `allowed_base_hosts`.
#[derive(Default)]
struct LimitBySite(Mutex<HashMap<(String, &'static str), Logged>>);

#[derive(Default)]
struct Logged {
    at: Option<Instant>,
    unlogged: u64,
}

impl LimitBySite {
    /// Counts the fault `fault` of `site` at the time `now`. Returns `None` if the fault must not
    /// be logged. Otherwise returns the number of unlogged faults since the last logged one.
    fn next(&self, site: &str, fault: &'static str, now: Instant) -> Option<u64> {
        let mut sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let logged = sites.entry((site.to_owned(), fault)).or_default();
        let is_early = |at: Instant| now.saturating_duration_since(at) < FAULT_INTERVAL;
        if logged.at.is_some_and(is_early) {
            logged.unlogged += 1;
            return None;
        }
        logged.at = Some(now);
        Some(std::mem::take(&mut logged.unlogged))
    }
}

/// Logs that a site has answered a request.
pub(super) fn answered(site: &SiteLabel, method: &Method, target: &Target, status: u16) {
    // Servers in Java put the session id into a path parameter.
    let path = target.path().split(';').next().unwrap_or_default();
    let site = site.as_str();
    tracing::debug!(site, %method, path, status, "Upstream request");
}

/// Logs that a request to the site `called` failed: no connection could be established, the address
/// of the site is forbidden, or the site gave no usable answer.
pub(super) fn failed(site: &SiteLabel, called: &Site, error: &UpstreamError) {
    let fault = match error {
        UpstreamError::Busy(_) => return,
        UpstreamError::ResponseTimeout => "response_timeout",
        UpstreamError::Failed(_) => "no_usable_answer",
        _ => fault(error),
    };
    let site = site.as_str();
    let Some(unlogged) = FAULTS.next(site, fault, Instant::now()) else {
        return;
    };
    let origin = called.origin();
    let is_unreachable = error.outcome() == Outcome::NotSent;
    let error = ErrorChain(error);
    if is_unreachable {
        tracing::warn!(site, origin, %error, unlogged, "Upstream unreachable");
    } else {
        tracing::warn!(site, origin, %error, unlogged, "Upstream request failed");
    }
}

/// Logs that the cookies of an answer are lost: the store did not keep them in time, or the session
/// has ended or its token was rotated.
pub(super) fn cookies_lost(site: &SiteLabel, token: &SessionToken) {
    if let Some(unlogged) = LOST.next() {
        let (token_prefix, site) = (token.prefix(), site.as_str());
        tracing::warn!(%token_prefix, site, unlogged, "Upstream cookies lost");
    }
}

/// Logs that the user of the session is no longer logged in at the site. `signal` is the sign of
/// this in an answer of the site.
pub(super) fn expired(site: &SiteLabel, token: &SessionToken, signal: LoginSignal) {
    if let Some(unlogged) = EXPIRED.next() {
        let (token_prefix, site, signal) = (token.prefix(), site.as_str(), signal.as_str());
        tracing::info!(%token_prefix, site, signal, unlogged, "Upstream session expired");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_a_site_has_one_line_per_minute() {
        let (limit, began) = (LimitBySite::default(), Instant::now());
        let at = |site, fault, seconds| {
            let now = began + Duration::from_secs(seconds);
            limit.next(site, fault, now)
        };
        assert_eq!(at("a", "tls", 0), Some(0));
        assert_eq!([at("a", "tls", 1), at("a", "tls", 59)], [None, None]);
        assert_eq!([at("b", "tls", 59), at("a", "name", 59)], [Some(0); 2]);
        assert_eq!([at("a", "tls", 60), at("a", "tls", 61)], [Some(2), None]);
    }
}
