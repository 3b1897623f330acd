//! Delivery of the body of a site's answer to the client.

use metrics::Counter;
use tee_session_upstream::{BodyError, Site};

use super::{
    log,
    metrics::{AnswerOutcome, SiteLabel},
};

/// Delivery of the body of an answer. When it is dropped, the request is counted with its outcome.
/// If the client disconnects within the body, the request does not count as broken off, because the
/// disconnect is not a fault of the site.
pub(super) struct Delivery {
    label: SiteLabel,
    called: Site,
    outcome: AnswerOutcome,
}

impl Delivery {
    /// Begins the delivery of an answer of the site `called`.
    pub(super) fn new(label: SiteLabel, called: Site, outcome: AnswerOutcome) -> Self {
        Self {
            label,
            called,
            outcome,
        }
    }

    /// Returns the counter of the body bytes received from the site.
    pub(super) fn received_bytes(&self) -> Counter {
        self.label.received_bytes()
    }

    /// Logs that the body broke off, and counts the request as broken off.
    pub(super) fn break_off(&mut self, error: &BodyError) {
        log::broken_off(&self.label, &self.called, error);
        self.outcome = AnswerOutcome::BrokenOff;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.label.count_answer(self.outcome);
    }
}
