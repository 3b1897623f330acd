//! Log events of the gateway. No log event contains a query, a cookie or a complete token.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use actix_web::http::Method;
use tee_session_domain::{ErrorChain, LogLimit, SessionToken};
use tee_session_upstream::{LoginSignal, Target, UpstreamError};

use super::metrics::SiteLabel;

/// Minimum interval between two log lines about one unreachable site.
const UNREACHABLE_INTERVAL: Duration = Duration::from_secs(60);

static UNREACHABLE: LazyLock<LimitBySite> = LazyLock::new(LimitBySite::default);

static EXPIRED: LogLimit = LogLimit::per_second(10);

/// Rate limit for log lines about unreachable sites, separate for each site. The number of sites is
/// bounded by the number of entries in `allowed_base_hosts`.
#[derive(Default)]
struct LimitBySite(Mutex<HashMap<String, Logged>>);

#[derive(Default)]
struct Logged {
    at: Option<Instant>,
    unlogged: u64,
}

impl LimitBySite {
    /// Counts an event of `site` at the time `now`. Returns `None` if the event must not be logged.
    /// Otherwise returns the number of unlogged events since the last logged event.
    fn next(&self, site: &str, now: Instant) -> Option<u64> {
        let mut sites = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let logged = sites.entry(site.to_owned()).or_default();
        let is_early = |at: Instant| now.saturating_duration_since(at) < UNREACHABLE_INTERVAL;
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

/// Logs that no connection to a site could be established, or that the address of the site is
/// forbidden. Other errors are not logged.
pub(super) fn failed(site: &SiteLabel, error: &UpstreamError) {
    let site = site.as_str();
    let is_unreachable = matches!(
        error,
        UpstreamError::Unreachable(_)
            | UpstreamError::ConnectTimeout
            | UpstreamError::NotAllowed(_)
    );
    if is_unreachable && let Some(unlogged) = UNREACHABLE.next(site, Instant::now()) {
        let error = ErrorChain(error);
        tracing::warn!(site, %error, unlogged, "Upstream unreachable");
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
    fn unreachable_site_is_logged_at_most_once_per_minute_for_each_site() {
        let (limit, began) = (LimitBySite::default(), Instant::now());
        let at = |site, seconds| limit.next(site, began + Duration::from_secs(seconds));
        assert_eq!([at("a", 0), at("a", 1), at("a", 59)], [Some(0), None, None]);
        assert_eq!([at("b", 59), at("b", 60)], [Some(0), None]);
        assert_eq!([at("a", 60), at("a", 61)], [Some(2), None]);
    }
}
