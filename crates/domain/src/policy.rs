//! How long a session lives.

use std::{num::NonZeroUsize, time::Duration};

use thiserror::Error;
use time::OffsetDateTime;

use crate::{RecentRenewals, RecentSlides, Session};

/// So much the store's clock may be off as it is known here, between two looks at it.
const CLOCK_ERROR: Duration = Duration::from_secs(1);

/// The two limits of a session's life.
///
/// The *idle timeout* slides: each access starts it anew. The optional *absolute lifetime* runs
/// from the creation and does not (OWASP ASVS 5.0, 7.3.1 and 7.3.2).
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
    /// The idle timeout when none is chosen: 30 minutes.
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(1_800);
    /// The longest of both limits: 365 days.
    pub const MAX: Duration = Duration::from_secs(31_536_000);

    /// A policy of whole seconds, each limit between one second and [`MAX`](Self::MAX).
    ///
    /// # Errors
    /// When a limit is out of range or has a fraction of a second.
    pub fn new(
        idle_timeout: Duration,
        absolute_lifetime: Option<Duration>,
    ) -> Result<Self, PolicyError> {
        let is_sound = |limit: Duration| {
            limit.subsec_nanos() == 0 && (1..=Self::MAX.as_secs()).contains(&limit.as_secs())
        };
        if !is_sound(idle_timeout) {
            return Err(PolicyError::IdleTimeout);
        }
        if !absolute_lifetime.is_none_or(is_sound) {
            return Err(PolicyError::AbsoluteLifetime);
        }
        Ok(Self {
            idle_timeout,
            absolute_lifetime,
            touch_interval: Duration::ZERO,
            subject_limit: None,
        })
    }

    /// Spares an access from sliding the session when it was slid less than `touch_interval` ago
    /// (whole seconds, less than the idle timeout; zero: every access slides). A session still lives
    /// for its whole idle timeout after its last access, and up to `touch_interval` longer.
    ///
    /// # Errors
    /// When it is out of range or has a fraction of a second.
    pub fn with_touch_interval(mut self, touch_interval: Duration) -> Result<Self, PolicyError> {
        if touch_interval.subsec_nanos() != 0 || touch_interval >= self.idle_timeout {
            return Err(PolicyError::TouchInterval);
        }
        self.touch_interval = touch_interval;
        Ok(self)
    }

    /// Lets each subject have so many live sessions at most.
    #[must_use]
    pub fn with_subject_limit(mut self, subject_limit: Option<SubjectLimit>) -> Self {
        self.subject_limit = subject_limit;
        self
    }

    /// How many live sessions a subject may have; `None`: any number.
    #[must_use]
    pub fn subject_limit(&self) -> Option<SubjectLimit> {
        self.subject_limit
    }

    /// How long a session lives without an access.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// How long a session lives at most, whatever happens; `None`: no such limit.
    #[must_use]
    pub fn absolute_lifetime(&self) -> Option<Duration> {
        self.absolute_lifetime
    }

    /// For how long an access need not slide a session that was slid already.
    #[must_use]
    pub fn touch_interval(&self) -> Duration {
        self.touch_interval
    }

    /// How long a new session lives at least when nobody asks for it.
    #[must_use]
    pub fn initial_ttl(&self) -> Duration {
        self.cut(self.idle_timeout)
    }

    /// For how long a new session is stored.
    pub(crate) fn stored_at_first(&self) -> Duration {
        self.cut(self.stored_for())
    }

    /// For how long a session is stored from a slide on: the accesses of the touch interval, which
    /// do not slide, have their idle timeout too.
    pub(crate) fn stored_for(&self) -> Duration {
        if self.touch_interval.is_zero() {
            self.idle_timeout
        } else {
            self.idle_timeout + self.touch_interval + CLOCK_ERROR
        }
    }

    /// To share between the managers of one process; `None` while every access slides.
    #[must_use]
    pub fn recent_slides(&self) -> Option<RecentSlides> {
        let has_interval = !self.touch_interval.is_zero();
        has_interval.then(|| RecentSlides::within(self.touch_interval))
    }

    /// To share between the managers of one process.
    #[must_use]
    pub fn recent_renewals(&self) -> RecentRenewals {
        RecentRenewals::within(self.idle_timeout / 2)
    }

    /// For how long an entry in the index of subjects is kept. It is renewed when half an idle timeout
    /// has passed, and outlives its record even if that fails for longer than a session can idle.
    pub(crate) fn entry_kept_for(&self) -> Duration {
        self.stored_for() * 3
    }

    fn cut(&self, ttl: Duration) -> Duration {
        self.absolute_lifetime.map_or(ttl, |limit| limit.min(ttl))
    }

    /// When a session created at `created_at` ends at the latest; `None`: never.
    #[must_use]
    pub fn absolute_end(&self, created_at: OffsetDateTime) -> Option<OffsetDateTime> {
        Some(created_at.saturating_add(to_signed(self.absolute_lifetime?)))
    }

    /// Cuts `idle_remaining` where the session's absolute lifetime ends; `None` when that is
    /// over.
    pub(crate) fn remaining(
        &self,
        idle_remaining: Duration,
        session: &Session,
        now: OffsetDateTime,
    ) -> Option<Duration> {
        let life = (session.created_at, session.absolute_end);
        self.remaining_until(idle_remaining, life, now)
    }

    /// The same of a session that was created, and ends at the latest, at these times.
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

/// How many live sessions a subject may have, and what happens to one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectLimit {
    /// So many.
    pub max: NonZeroUsize,
    /// What happens when another one is created.
    pub when_reached: WhenReached,
}

/// What happens when a subject with as many live sessions as it may have gets another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenReached {
    /// The oldest one is revoked.
    #[default]
    EvictOldest,
    /// The new one is refused.
    Refuse,
}

/// A limit is out of range. `Display` says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// The idle timeout is.
    #[error("the idle timeout must be 1 to {} whole seconds", SessionPolicy::MAX.as_secs())]
    IdleTimeout,
    /// The absolute lifetime is.
    #[error("the absolute lifetime must be 1 to {} whole seconds", SessionPolicy::MAX.as_secs())]
    AbsoluteLifetime,
    /// The touch interval is.
    #[error("the touch interval must be whole seconds, and less than the idle timeout")]
    TouchInterval,
}

pub(crate) fn to_signed(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{BaseUrl, Cookies};

    const CREATED: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn session(absolute_end: Option<OffsetDateTime>) -> Session {
        Session {
            cookies: Cookies::from_stored::<&str, &str>(&[]).unwrap(),
            base_url: BaseUrl::from_stored("").unwrap(),
            created_at: CREATED,
            absolute_end,
            subject: None,
            label: None,
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
    fn limits_are_held_to_their_range(
        #[case] idle: u64,
        #[case] absolute: Option<u64>,
        #[case] expected: Result<(), PolicyError>,
    ) {
        let policy = SessionPolicy::new(seconds(idle), absolute.map(seconds));
        assert_eq!(policy.map(|_| ()), expected);
    }

    #[test]
    fn fractions_of_a_second_are_refused() {
        let policy = SessionPolicy::new(Duration::from_millis(1_500), None);
        assert_eq!(policy, Err(PolicyError::IdleTimeout));
    }

    #[rstest]
    #[case::idle_ends_first(10, 30, Some(30))]
    #[case::absolute_ends_first(95, 30, Some(5))]
    #[case::last_second(99, 30, Some(1))]
    #[case::over(100, 30, None)]
    #[case::long_over(1_000, 30, None)]
    fn the_absolute_lifetime_cuts_the_idle_timeout(
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
    fn an_end_fixed_at_creation_holds_whatever_the_policy_says_today() {
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
    fn without_an_absolute_lifetime_only_idling_ends_a_session() {
        let policy = SessionPolicy::default();
        let in_a_century = CREATED + time::Duration::weeks(5_200);
        assert_eq!(
            policy.remaining(seconds(7), &session(None), in_a_century),
            Some(seconds(7))
        );
    }

    #[test]
    fn a_new_session_lives_for_the_shorter_limit() {
        let policy = SessionPolicy::new(seconds(1_800), Some(seconds(60))).unwrap();
        assert_eq!(policy.initial_ttl(), seconds(60));
        assert_eq!(SessionPolicy::default().initial_ttl(), seconds(1_800));
    }

    #[test]
    fn a_session_stamped_at_the_end_of_time_does_not_overflow() {
        let policy = SessionPolicy::new(seconds(1), Some(SessionPolicy::MAX)).unwrap();
        let stamp = OffsetDateTime::UNIX_EPOCH.saturating_add(time::Duration::MAX);
        assert_eq!(policy.absolute_end(stamp), Some(stamp));
    }
}
