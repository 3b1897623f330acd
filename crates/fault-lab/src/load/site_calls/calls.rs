//! State that all calls to one site share.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::{load::shared::Shared, site::Site};

/// Calls of all clients to one site.
pub(crate) struct SiteCalls {
    pub(crate) site: Site,
    next_number: AtomicU64,
    answered: AtomicU64,
    /// Numbers of the calls that did not reach the site according to their responses.
    not_sent: Mutex<Vec<u64>>,
}

impl SiteCalls {
    pub(crate) fn new(site: Site) -> Self {
        Self {
            site,
            // The numbers begin at 1, because 0 means that there is no booking.
            next_number: AtomicU64::new(1),
            answered: AtomicU64::default(),
            not_sent: Mutex::default(),
        }
    }

    /// Returns the number of calls that the site has answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn count_answer(&self) {
        self.answered.fetch_add(1, Ordering::SeqCst);
    }

    /// Checks that the site has not received the call `number`, and records that this call must
    /// never reach the site.
    pub(super) fn note_not_sent(&self, shared: &Shared, number: u64) {
        self.check_not_sent(shared, number);
        let mut not_sent = self.not_sent.lock().unwrap_or_else(PoisonError::into_inner);
        not_sent.push(number);
    }

    /// Checks again that the site has received no call twice, and no call with the outcome
    /// `not_sent`. A request can reach the site after the client has received the response to its
    /// call.
    pub(in crate::load) fn check_all(&self, shared: &Shared) {
        for number in 1..self.next_number.load(Ordering::SeqCst) {
            if self.site.booking(number).requests > 1 {
                shared.tally().add_violation("a call was sent twice");
            }
        }
        let not_sent = self.not_sent.lock().unwrap_or_else(PoisonError::into_inner);
        for number in &*not_sent {
            self.check_not_sent(shared, *number);
        }
    }

    fn check_not_sent(&self, shared: &Shared, number: u64) {
        if self.site.booking(number).requests > 0 {
            let what = "a call that was not sent has reached the site";
            shared.tally().add_violation(what);
        }
    }
}
