//! Table of subject index entries that were renewed recently. An access to a session does not renew
//! such an entry again.

use std::{sync::OnceLock, time::Duration};

use time::OffsetDateTime;

use crate::{RecentTouches, SessionToken, clock::to_signed};

/// Maximum delay before the failed renewal of a subject index entry is repeated. The delay is one
/// eighth of the renewal interval, but at most this maximum.
const RETRY: Duration = Duration::from_secs(5);

/// Table of the times at which subject index entries were last renewed. The table takes 4 MiB of
/// memory, which is allocated when the first session with a subject is used.
#[derive(Debug)]
pub struct RecentRenewals {
    interval: Duration,
    renewals: OnceLock<RecentTouches>,
}

impl RecentRenewals {
    /// Creates a table in which a renewal counts as recent for the time `interval`.
    #[must_use]
    pub fn within(interval: Duration) -> Self {
        Self {
            interval,
            renewals: OnceLock::new(),
        }
    }

    /// Returns `true` if the caller must renew the index entry of `token` now. After that, the
    /// method returns `false` for this entry until the retry delay has passed. Concurrent requests
    /// therefore do not renew the same entry.
    #[must_use]
    pub fn is_due(&self, token: &SessionToken, now: OffsetDateTime) -> bool {
        let renewals = self.renewals();
        if renewals.is_recent(token, now) {
            return false;
        }
        // The table gets a time in the past, so that the entry is due again after `retry` if the
        // renewal does not succeed.
        let retry = RETRY.min(self.interval / 8);
        let until_retry = to_signed(self.interval.saturating_sub(retry));
        renewals.note(token, now.saturating_sub(until_retry));
        true
    }

    /// Records that the index entry of `token` was renewed. `now` is a time before the renewal.
    pub fn note(&self, token: &SessionToken, now: OffsetDateTime) {
        self.renewals().note(token, now);
    }

    fn renewals(&self) -> &RecentTouches {
        self.renewals
            .get_or_init(|| RecentTouches::within(self.interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::weeks(2_000) + time::Duration::seconds(seconds)
    }

    #[test]
    fn index_entry_is_due_for_renewal_once_per_interval() {
        let renewals = RecentRenewals::within(Duration::from_secs(900));
        let token = SessionToken::generate();
        assert!(renewals.is_due(&token, at(0)));
        renewals.note(&token, at(0));
        assert!(!renewals.is_due(&token, at(899)));
        assert!(renewals.is_due(&token, at(900)));
    }

    #[test]
    fn failed_renewal_of_an_index_entry_is_due_again_after_5_seconds() {
        let renewals = RecentRenewals::within(Duration::from_secs(900));
        let token = SessionToken::generate();
        assert!(renewals.is_due(&token, at(0)));
        assert!(!renewals.is_due(&token, at(4)));
        assert!(renewals.is_due(&token, at(5)));
    }

    #[test]
    fn failed_renewal_is_due_again_after_an_eighth_of_a_short_interval() {
        let renewals = RecentRenewals::within(Duration::from_secs(16));
        let token = SessionToken::generate();
        assert!(renewals.is_due(&token, at(0)));
        assert!(!renewals.is_due(&token, at(1)));
        assert!(renewals.is_due(&token, at(2)));
    }

    #[test]
    fn renewal_table_is_not_allocated_before_the_first_session_with_a_subject() {
        let renewals = RecentRenewals::within(Duration::from_secs(900));
        assert!(renewals.renewals.get().is_none());
    }
}
