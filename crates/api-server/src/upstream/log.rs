//! Log events of the gateway. No log event contains a query, a cookie or a complete token.

use std::{sync::LazyLock, time::Instant};

use actix_web::http::Method;
use tee_session_domain::{ErrorChain, LogLimit, SessionToken};
use tee_session_upstream::{BodyError, LoginSignal, Outcome, Site, Target, UpstreamError};

use super::{
    advice,
    fault_limit::FaultLimit,
    metrics::{SiteLabel, Unsaved},
};

static FAULTS: LazyLock<FaultLimit> = LazyLock::new(|| FaultLimit::per_second(10));

static EXPIRED: LogLimit = LogLimit::per_second(10);

static LOST: LogLimit = LogLimit::per_second(10);

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
    if matches!(error, UpstreamError::Busy(_)) {
        return;
    }
    // Faults with the same advice count as one cause.
    let advice = advice::of(error);
    FAULTS.log(called, advice, Instant::now(), |unlogged| {
        let (site, origin) = (site.as_str(), called.origin());
        let is_unreachable = error.outcome() == Outcome::NotSent;
        let error = ErrorChain(error);
        if is_unreachable {
            tracing::warn!(site, origin, %error, advice, unlogged, "Upstream unreachable");
        } else {
            tracing::warn!(site, origin, %error, advice, unlogged, "Upstream request failed");
        }
    });
}

/// Logs that the body of an answer of the site `called` broke off.
pub(super) fn broken_off(site: &SiteLabel, called: &Site, error: &BodyError) {
    let advice = advice::of_body(error);
    FAULTS.log(called, advice, Instant::now(), |unlogged| {
        let (site, origin, error) = (site.as_str(), called.origin(), ErrorChain(error));
        tracing::warn!(site, origin, %error, advice, unlogged, "Upstream request failed");
    });
}

/// Logs that cookies of an answer were not stored before the answer was passed on. `outcome` is the
/// final outcome for these cookies. Logs nothing if a later merge has stored them.
pub(super) fn cookies_not_kept_at_once(site: &SiteLabel, token: &SessionToken, outcome: Unsaved) {
    let (token_prefix, site) = (token.prefix(), site.as_str());
    match outcome {
        Unsaved::KeptLate => {}
        Unsaved::Lost => {
            LOST.log(|unlogged| {
                tracing::warn!(%token_prefix, site, unlogged, "Upstream cookies lost");
            });
        }
        // A logout or a rotation during a call is not a fault of the store or of the site.
        Unsaved::Gone => tracing::debug!(%token_prefix, site, "Upstream cookies without a session"),
    }
}

/// Logs that the user of the session is no longer logged in at the site. `signal` is the sign of
/// this in an answer of the site.
pub(super) fn expired(site: &SiteLabel, token: &SessionToken, signal: LoginSignal) {
    EXPIRED.log(|unlogged| {
        let (token_prefix, site, signal) = (token.prefix(), site.as_str(), signal.as_str());
        tracing::info!(%token_prefix, site, signal, unlogged, "Upstream session expired");
    });
}
