//! Metrics of the upstream gateway.

use std::time::Duration;

use metrics::{Counter, counter, gauge, histogram};
use tee_session_auth_middleware::ProblemCode;
use tee_session_domain::{AllowedHosts, BaseUrl};
use tee_session_upstream::{ConnectError, LoginSignal, Observer, Site, UpstreamError};

const REQUESTS: &str = "tee_session_upstream_requests_total";
const DURATION: &str = "tee_session_upstream_request_duration_seconds";
const CONNECTIONS: &str = "tee_session_upstream_connections";
const CONNECTS: &str = "tee_session_upstream_connects_total";
const EXPIRED: &str = "tee_session_upstream_sessions_expired_total";
const UNSAVED: &str = "tee_session_upstream_cookies_unsaved_total";
const BODY_BYTES: &str = "tee_session_upstream_body_bytes_total";

/// Outcome of a request that the site has answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum AnswerOutcome {
    /// The site answered, with any status.
    Answered,
    /// The client disconnected before the site answered.
    Abandoned,
    /// The body of the answer ended early, stalled, or was too long.
    BrokenOff,
}

impl AnswerOutcome {
    /// Returns the value of the label `outcome`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Abandoned => "abandoned",
            Self::BrokenOff => "broken_off",
        }
    }
}

/// Value of the label `site`: the entry of `allowed_base_hosts` that allows the site. The number of
/// label values is therefore limited by the number of entries.
#[derive(Debug, Clone)]
pub(crate) struct SiteLabel(String);

impl SiteLabel {
    pub(crate) fn of(base_url: &BaseUrl, hosts: &AllowedHosts) -> Self {
        Self(hosts.matching(base_url).unwrap_or("other").to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    /// Counts a request that was answered with the problem code `code`.
    pub(crate) fn count_problem(&self, code: &'static str) {
        counter!(REQUESTS, "site" => self.text(), "outcome" => code).increment(1);
    }

    /// Records the time from sending a request to the head of its answer, or to the timeout.
    pub(super) fn record_head(&self, time: Duration) {
        histogram!(DURATION, "site" => self.text(), "phase" => "head").record(time);
    }

    /// Counts a request that the site has answered.
    pub(super) fn count_answer(&self, outcome: AnswerOutcome) {
        counter!(REQUESTS, "site" => self.text(), "outcome" => outcome.as_str()).increment(1);
    }

    /// Counts an answer that shows that the user of the session is no longer logged in. `signal` is
    /// the kind of the sign.
    pub(super) fn count_expired(&self, signal: LoginSignal) {
        counter!(EXPIRED, "site" => self.text(), "signal" => signal.as_str()).increment(1);
    }

    /// Counts the bytes of a request body that is sent to the site.
    pub(super) fn count_sent(&self, bytes: usize) {
        self.bytes("sent").increment(bytes as u64);
    }

    /// Returns the counter of the body bytes received from the site.
    pub(super) fn received_bytes(&self) -> Counter {
        self.bytes("received")
    }

    fn bytes(&self, direction: &'static str) -> Counter {
        counter!(BODY_BYTES, "site" => self.text(), "direction" => direction)
    }
}

/// Counts a request that was refused because of the limit on all requests to sites. The session of
/// such a request, and therefore its site, is not known.
pub(crate) fn count_refused() {
    let code = ProblemCode::OVERLOADED.name();
    counter!(REQUESTS, "site" => "unknown", "outcome" => code).increment(1);
}

/// Final outcome for cookies that were not stored before the answer was passed on: the value of the
/// label `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsaved {
    /// The store failed at first. A later merge has stored the cookies.
    KeptLate,
    /// The store failed at first. No later merge has stored the cookies.
    Lost,
    /// The session had ended or its token was rotated before the answer arrived.
    Gone,
}

impl Unsaved {
    const ALL: [Self; 3] = [Self::KeptLate, Self::Lost, Self::Gone];

    fn counter(self) -> Counter {
        let outcome = match self {
            Self::KeptLate => "kept_late",
            Self::Lost => "lost",
            Self::Gone => "gone",
        };
        counter!(UNSAVED, "outcome" => outcome)
    }
}

/// Counts an answer whose cookies were not stored before the answer was passed on.
pub(super) fn count_unsaved(outcome: Unsaved) {
    outcome.counter().increment(1);
}

/// Registers the counters that have no label `site`, with the value 0.
pub(crate) fn start_at_zero() {
    for outcome in Unsaved::ALL {
        let _ = outcome.counter();
    }
}

/// Observer that counts the connections to sites.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) hosts: AllowedHosts,
}

impl Connections {
    fn label(&self, site: &Site) -> SiteLabel {
        match BaseUrl::new(site.origin()) {
            Ok(base_url) => SiteLabel::of(&base_url, &self.hosts),
            Err(_) => SiteLabel("other".to_owned()),
        }
    }
}

impl Observer for Connections {
    fn connected(&self, site: &Site, time: Duration, result: Result<(), &UpstreamError>) {
        let label = self.label(site);
        let outcome = match result {
            Ok(()) => "connected",
            Err(error) => fault(error),
        };
        counter!(CONNECTS, "site" => label.text(), "outcome" => outcome).increment(1);
        if result.is_ok() {
            histogram!(DURATION, "site" => label.text(), "phase" => "connect").record(time);
            gauge!(CONNECTIONS, "site" => label.text()).increment(1);
        }
    }

    fn closed(&self, site: &Site) {
        gauge!(CONNECTIONS, "site" => self.label(site).text()).decrement(1);
    }
}

/// Returns the label value for the step of the connection setup that failed.
pub(super) fn fault(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::NotAllowed(_) => "not_allowed",
        UpstreamError::ConnectTimeout => "timeout",
        UpstreamError::Unreachable(error) => match **error {
            ConnectError::Lookup(_) | ConnectError::NoAddress => "name",
            ConnectError::Tls(_) | ConnectError::ServerName => "tls",
            // `ConnectError` is non-exhaustive.
            _ => "connection",
        },
        _ => "connection",
    }
}
