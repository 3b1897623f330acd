//! Which entries of the index of subjects were renewed a while ago, so that the next access need not.

use std::{sync::OnceLock, time::Duration};

use time::OffsetDateTime;

use crate::{RecentSlides, SessionToken, policy::to_signed};

/// A renewal that has not succeeded after so long, or an eighth of the interval, is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Remembers when entries were last renewed. It takes memory, 4 MiB, from the first session with a
/// subject on.
#[derive(Debug)]
pub struct RecentRenewals {
    interval: Duration,
    renewals: OnceLock<RecentSlides>,
}

impl RecentRenewals {
    /// A renewal counts as recent for `interval`.
    #[must_use]
    pub fn within(interval: Duration) -> Self {
        Self {
            interval,
            renewals: OnceLock::new(),
        }
    }

    /// Whether the entry is to be renewed now. Others are told no while that is tried.
    #[must_use]
    pub fn is_due(&self, token: &SessionToken, now: OffsetDateTime) -> bool {
        let renewals = self.renewals();
        if renewals.is_recent(token, now) {
            return false;
        }
        let retry = RETRY.min(self.interval / 8);
        let until_retry = to_signed(self.interval.saturating_sub(retry));
        renewals.note(token, now.saturating_sub(until_retry));
        true
    }

    /// The entry was renewed at `now`, or after it.
    pub fn note(&self, token: &SessionToken, now: OffsetDateTime) {
        self.renewals().note(token, now);
    }

    fn renewals(&self) -> &RecentSlides {
        self.renewals
            .get_or_init(|| RecentSlides::within(self.interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::weeks(2_000) + time::Duration::seconds(seconds)
    }

    #[test]
    fn an_entry_is_due_once_in_an_interval() {
        let renewals = RecentRenewals::within(Duration::from_secs(900));
        let token = SessionToken::generate();
        assert!(renewals.is_due(&token, at(0)));
        renewals.note(&token, at(0));
        assert!(!renewals.is_due(&token, at(899)));
        assert!(renewals.is_due(&token, at(900)));
    }

    #[test]
    fn a_renewal_that_did_not_succeed_is_tried_again_soon_but_not_at_once() {
        let renewals = RecentRenewals::within(Duration::from_secs(900));
        let token = SessionToken::generate();
        assert!(renewals.is_due(&token, at(0)));
        assert!(!renewals.is_due(&token, at(4)));
        assert!(renewals.is_due(&token, at(5)));
    }

    #[test]
    fn it_takes_no_memory_before_the_first_session_with_a_subject() {
        let renewals = RecentRenewals::within(Duration::from_secs(900));
        assert!(renewals.renewals.get().is_none());
    }
}
