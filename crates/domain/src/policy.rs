//! Session policy: limits of the lifetime of sessions and of their number per subject.

use std::{num::NonZeroUsize, time::Duration};

use thiserror::Error;
use time::OffsetDateTime;

use crate::{RecentRenewals, RecentTouches, Session, clock::to_signed};

/// Maximum error of the local copy of the store's clock between two corrections.
const CLOCK_ERROR: Duration = Duration::from_secs(1);

/// Limits of the lifetime of sessions, and of the number of sessions per subject.
///
/// The *idle timeout* is a sliding window: each access restarts it. The optional *absolute
/// lifetime* counts from the creation of the session and is never extended (OWASP ASVS 5.0,
/// requirements 7.3.1 and 7.3.2).
///
/// ```
/// use std::time::Duration;
/// use tee_session_domain::SessionPolicy;
///
/// let policy = SessionPolicy::new(Duration::from_secs(1_800), Some(Duration::from_secs(86_400)))?;
/// assert_eq!(policy.idle_timeout(), Duration::from_secs(1_800));
/// assert_eq!(SessionPolicy::default().absolute_lifetime(), None);
/// # Ok::<(), tee_session_domain::PolicyError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    idle_timeout: Duration,
    absolute_lifetime: Option<Duration>,
    touch_interval: Duration,
    subject_limit: Option<SubjectLimit>,
}

impl SessionPolicy {
    /// Default idle timeout: 30 minutes.
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(1_800);
    /// Longest allowed idle timeout, and longest allowed absolute lifetime: 365 days.
    pub const MAX: Duration = Duration::from_secs(31_536_000);

    /// Creates a policy. Idle timeout and absolute lifetime must be whole seconds, from one second
    /// to [`MAX`](Self::MAX).
    ///
    /// # Errors
    /// Fails if the idle timeout or the absolute lifetime is out of range, or has a fraction of a
    /// second.
    pub fn new(
        idle_timeout: Duration,
        absolute_lifetime: Option<Duration>,
    ) -> Result<Self, PolicyError> {
        let is_valid = |limit: Duration| {
            limit.subsec_nanos() == 0 && (1..=Self::MAX.as_secs()).contains(&limit.as_secs())
        };
        if !is_valid(idle_timeout) {
            return Err(PolicyError::IdleTimeout);
        }
        if !absolute_lifetime.is_none_or(is_valid) {
            return Err(PolicyError::AbsoluteLifetime);
        }
        Ok(Self {
            idle_timeout,
            absolute_lifetime,
            touch_interval: Duration::ZERO,
            subject_limit: None,
        })
    }

    /// Sets the touch interval: the minimum time between two TTL renewals (touches) of a session.
    /// The interval must be whole seconds and less than the idle timeout. With zero, every access
    /// renews the TTL.
    ///
    /// A session still lives for its whole idle timeout after its last access, and for up to one
    /// touch interval longer.
    ///
    /// # Errors
    /// Fails if the touch interval is out of range, or has a fraction of a second.
    pub fn with_touch_interval(mut self, touch_interval: Duration) -> Result<Self, PolicyError> {
        if touch_interval.subsec_nanos() != 0 || touch_interval >= self.idle_timeout {
            return Err(PolicyError::TouchInterval);
        }
        self.touch_interval = touch_interval;
        Ok(self)
    }

    /// Sets the maximum number of live sessions per subject. `None` means no limit.
    #[must_use]
    pub fn with_subject_limit(mut self, subject_limit: Option<SubjectLimit>) -> Self {
        self.subject_limit = subject_limit;
        self
    }

    /// Returns the limit of live sessions per subject. `None` means no limit.
    #[must_use]
    pub fn subject_limit(&self) -> Option<SubjectLimit> {
        self.subject_limit
    }

    /// Returns the idle timeout: the time that a session lives without an access.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Returns the absolute lifetime: the maximum lifetime of a session, regardless of accesses.
    /// `None` means no limit.
    #[must_use]
    pub fn absolute_lifetime(&self) -> Option<Duration> {
        self.absolute_lifetime
    }

    /// Returns the minimum time between two TTL renewals (touches) of a session.
    #[must_use]
    pub fn touch_interval(&self) -> Duration {
        self.touch_interval
    }

    /// Returns the minimum time that a new session lives without an access: the shorter of idle
    /// timeout and absolute lifetime.
    #[must_use]
    pub fn initial_ttl(&self) -> Duration {
        self.limit_to_absolute_lifetime(self.idle_timeout)
    }

    /// Returns the TTL with which the record of a new session is stored.
    pub(crate) fn initial_record_ttl(&self) -> Duration {
        self.limit_to_absolute_lifetime(self.record_ttl())
    }

    /// Returns the TTL that a touch (TTL renewal) sets for a session's record.
    ///
    /// With a touch interval, this TTL is longer than the idle timeout. An access within the touch
    /// interval does not renew the TTL, but the session must still live for a whole idle timeout
    /// after that access.
    pub(crate) fn record_ttl(&self) -> Duration {
        if self.touch_interval.is_zero() {
            self.idle_timeout
        } else {
            self.idle_timeout + self.touch_interval + CLOCK_ERROR
        }
    }

    /// Creates the table of recently touched sessions (sessions whose TTL was renewed recently).
    /// All managers of one process share this table. Returns `None` if there is no touch interval,
    /// because every access then touches the session.
    #[must_use]
    pub fn recent_touches(&self) -> Option<RecentTouches> {
        let has_interval = !self.touch_interval.is_zero();
        has_interval.then(|| RecentTouches::within(self.touch_interval))
    }

    /// Creates the table of subject index entries that were renewed recently. All managers of one
    /// process share this table.
    #[must_use]
    pub fn recent_renewals(&self) -> RecentRenewals {
        RecentRenewals::within(self.idle_timeout / 2)
    }

    /// Returns the lifetime of an entry in the subject index.
    ///
    /// The lifetime is three times the TTL of the session's record. An entry is due for renewal
    /// after half an idle timeout. Even if the renewal is late by one and a half idle timeouts, the
    /// entry outlives the record.
    pub(crate) fn index_entry_ttl(&self) -> Duration {
        self.record_ttl() * 3
    }

    fn limit_to_absolute_lifetime(&self, ttl: Duration) -> Duration {
        self.absolute_lifetime.map_or(ttl, |limit| limit.min(ttl))
    }

    /// Returns the end of the absolute lifetime of a session that was created at `created_at`.
    /// Returns `None` if the policy has no absolute lifetime.
    #[must_use]
    pub fn absolute_end(&self, created_at: OffsetDateTime) -> Option<OffsetDateTime> {
        Some(created_at.saturating_add(to_signed(self.absolute_lifetime?)))
    }

    /// Returns the remaining lifetime of the session: the shorter of `idle_remaining` and the
    /// remaining absolute lifetime. Returns `None` if the absolute lifetime is over.
    pub(crate) fn remaining(
        &self,
        idle_remaining: Duration,
        session: &Session,
        now: OffsetDateTime,
    ) -> Option<Duration> {
        let life = (session.created_at, session.absolute_end);
        self.remaining_until(idle_remaining, life, now)
    }

    /// Returns the remaining lifetime of a session: the shorter of `idle_remaining` and the time
    /// until the absolute lifetime ends at `absolute_end`. If `absolute_end` is `None`, the
    /// absolute lifetime of this policy applies, counted from `created_at`. Returns `None` if the
    /// absolute lifetime is over.
    pub(crate) fn remaining_until(
        &self,
        idle_remaining: Duration,
        (created_at, absolute_end): (OffsetDateTime, Option<OffsetDateTime>),
        now: OffsetDateTime,
    ) -> Option<Duration> {
        let Some(end) = absolute_end.or_else(|| self.absolute_end(created_at)) else {
            return Some(idle_remaining);
        };
        let absolute_remaining = Duration::try_from(end - now).unwrap_or(Duration::ZERO);
        (!absolute_remaining.is_zero()).then(|| idle_remaining.min(absolute_remaining))
    }
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            idle_timeout: Self::DEFAULT_IDLE_TIMEOUT,
            absolute_lifetime: None,
            touch_interval: Duration::ZERO,
            subject_limit: None,
        }
    }
}

/// Limit of live sessions per subject, and the reaction if a session is created when the limit is
/// reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectLimit {
    /// Maximum number of live sessions of one subject.
    pub max: NonZeroUsize,
    /// Reaction if a session is created for a subject that has reached the limit.
    pub when_reached: AtLimit,
}

/// Reaction if a session is created for a subject that has reached its session limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtLimit {
    /// The oldest session of the subject is revoked to make room for the new session.
    #[default]
    EvictOldest,
    /// The new session is rejected, and the existing sessions of the subject stay live.
    Refuse,
}

/// Error for an invalid duration in a session policy. `Display` states what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// The idle timeout is out of range, or has a fraction of a second.
    #[error("the idle timeout must be 1 to {} whole seconds", SessionPolicy::MAX.as_secs())]
    IdleTimeout,
    /// The absolute lifetime is out of range, or has a fraction of a second.
    #[error("the absolute lifetime must be 1 to {} whole seconds", SessionPolicy::MAX.as_secs())]
    AbsoluteLifetime,
    /// The touch interval is not less than the idle timeout, or has a fraction of a second.
    #[error("the touch interval must be a number of whole seconds less than the idle timeout")]
    TouchInterval,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{BaseUrl, Cookies, SessionAttributes};

    const CREATED: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn session(absolute_end: Option<OffsetDateTime>) -> Session {
        Session {
            cookies: Cookies::default(),
            base_url: BaseUrl::from_stored("").unwrap(),
            created_at: CREATED,
            absolute_end,
            attributes: SessionAttributes::default(),
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[rstest]
    #[case::shortest(1, Some(1), Ok(()))]
    #[case::longest(31_536_000, Some(31_536_000), Ok(()))]
    #[case::no_absolute_lifetime(1_800, None, Ok(()))]
    #[case::idle_zero(0, None, Err(PolicyError::IdleTimeout))]
    #[case::idle_too_long(31_536_001, None, Err(PolicyError::IdleTimeout))]
    #[case::absolute_zero(1, Some(0), Err(PolicyError::AbsoluteLifetime))]
    #[case::absolute_too_long(1, Some(31_536_001), Err(PolicyError::AbsoluteLifetime))]
    fn idle_timeout_and_absolute_lifetime_must_be_1_second_to_365_days(
        #[case] idle: u64,
        #[case] absolute: Option<u64>,
        #[case] expected: Result<(), PolicyError>,
    ) {
        let policy = SessionPolicy::new(seconds(idle), absolute.map(seconds));
        assert_eq!(policy.map(|_| ()), expected);
    }

    #[test]
    fn idle_timeout_with_a_fraction_of_a_second_is_rejected() {
        let policy = SessionPolicy::new(Duration::from_millis(1_500), None);
        assert_eq!(policy, Err(PolicyError::IdleTimeout));
    }

    #[rstest]
    #[case::none(seconds(0), Ok(seconds(30)))]
    #[case::longest(seconds(29), Ok(seconds(60)))]
    #[case::as_long_as_the_idle_timeout(seconds(30), Err(PolicyError::TouchInterval))]
    #[case::fraction_of_a_second(Duration::from_millis(1_500), Err(PolicyError::TouchInterval))]
    fn touch_interval_must_be_shorter_than_the_idle_timeout_and_makes_the_record_live_longer(
        #[case] interval: Duration,
        #[case] record_ttl: Result<Duration, PolicyError>,
    ) {
        let policy = SessionPolicy::new(seconds(30), None).unwrap();
        let policy = policy.with_touch_interval(interval);
        assert_eq!(policy.map(|policy| policy.record_ttl()), record_ttl);
        assert_eq!(
            policy.map(|policy| policy.recent_touches().is_some()),
            record_ttl.map(|_| !interval.is_zero())
        );
        if let Ok(policy) = policy {
            assert_eq!(policy.touch_interval(), interval);
        }
    }

    #[test]
    fn policy_returns_its_limits() {
        let limit = SubjectLimit {
            max: NonZeroUsize::MIN,
            when_reached: AtLimit::Refuse,
        };
        let policy = SessionPolicy::new(seconds(30), Some(seconds(100))).unwrap();
        assert_eq!(policy.subject_limit(), None);
        let policy = policy.with_subject_limit(Some(limit));
        assert_eq!(policy.subject_limit(), Some(limit));
        assert_eq!(policy.idle_timeout(), seconds(30));
        assert_eq!(policy.absolute_lifetime(), Some(seconds(100)));
    }

    #[test]
    fn index_entry_lives_three_times_as_long_as_the_record() {
        let policy = SessionPolicy::new(seconds(30), None).unwrap();
        assert_eq!(policy.index_entry_ttl(), seconds(90));
    }

    #[rstest]
    #[case::idle_ends_first(10, 30, Some(30))]
    #[case::absolute_ends_first(95, 30, Some(5))]
    #[case::last_second(99, 30, Some(1))]
    #[case::at_the_absolute_end(100, 30, None)]
    #[case::long_after_the_absolute_end(1_000, 30, None)]
    fn absolute_lifetime_limits_the_remaining_idle_time(
        #[case] age: i64,
        #[case] idle_remaining: u64,
        #[case] expected: Option<u64>,
    ) {
        let policy = SessionPolicy::new(seconds(30), Some(seconds(100))).unwrap();
        let now = CREATED + time::Duration::seconds(age);
        let remaining = policy.remaining(seconds(idle_remaining), &session(None), now);
        assert_eq!(remaining, expected.map(seconds));
    }

    #[test]
    fn absolute_lifetime_fixed_at_creation_overrides_the_current_policy() {
        let session = session(Some(CREATED + time::Duration::seconds(50)));
        for lifetime in [None, Some(seconds(10)), Some(seconds(100))] {
            let policy = SessionPolicy::new(seconds(30), lifetime).unwrap();
            let at = |age| CREATED + time::Duration::seconds(age);
            assert_eq!(
                policy.remaining(seconds(30), &session, at(40)),
                Some(seconds(10))
            );
            assert_eq!(policy.remaining(seconds(30), &session, at(50)), None);
        }
    }

    #[test]
    fn session_without_absolute_lifetime_ends_only_by_idle_timeout() {
        let policy = SessionPolicy::default();
        let in_a_century = CREATED + time::Duration::weeks(5_200);
        assert_eq!(
            policy.remaining(seconds(7), &session(None), in_a_century),
            Some(seconds(7))
        );
    }

    #[test]
    fn initial_ttl_is_the_shorter_of_idle_timeout_and_absolute_lifetime() {
        let policy = SessionPolicy::new(seconds(1_800), Some(seconds(60))).unwrap();
        assert_eq!(policy.initial_ttl(), seconds(60));
        assert_eq!(SessionPolicy::default().initial_ttl(), seconds(1_800));
    }

    #[test]
    fn end_of_the_absolute_lifetime_does_not_overflow_at_the_maximum_time() {
        let policy = SessionPolicy::new(seconds(1), Some(SessionPolicy::MAX)).unwrap();
        let stamp = OffsetDateTime::UNIX_EPOCH.saturating_add(time::Duration::MAX);
        assert_eq!(policy.absolute_end(stamp), Some(stamp));
    }
}
