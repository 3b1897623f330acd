//! Invalidation feed: Redis reports changes of session records to a listener, such as a cache.

use std::{sync::Arc, time::Duration};

use tee_session_domain::InvalidationListener;
use thiserror::Error;
use tokio::{sync::watch, time::timeout};

use crate::{
    RedisSettings,
    connection::{FeedState, Subscription, maintain_feed},
};

/// Minimum of `max_silence`, the silence of Redis after which the invalidation feed counts as lost.
/// Each check of the feed takes a round trip to Redis, so `max_silence` must be longer than a round
/// trip.
const MIN_SILENCE: Duration = Duration::from_millis(10);

/// Invalidation feed that reports every change of a session record to a listener. Changes are
/// writes, deletions, expiry and eviction, caused by any client of Redis. If a client sends
/// FLUSHALL, the feed calls [`InvalidationListener::feed_lost`] within a quarter of the
/// `max_silence` that was passed to [`Self::subscribe`].
///
/// The feed uses a separate connection, on the tokio runtime on which the feed was started. If the
/// connection breaks, the feed connects again. The feed ends when this value is dropped. The
/// listener must return quickly, because further invalidations wait until it returns.
///
/// ```no_run
/// # use std::{sync::Arc, time::Duration};
/// # use tee_session_domain::InvalidationListener;
/// # async fn example(
/// #     near_cache: Arc<dyn InvalidationListener>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use tee_session_redis_adapter::{RedisInvalidationFeed, RedisRepository, RedisSettings};
///
/// let settings = RedisSettings::new("redis://127.0.0.1:6379/0")?.with_invalidation_feed()?;
/// let feed = RedisInvalidationFeed::subscribe(&settings, Duration::from_secs(1), near_cache);
/// let is_up = feed.wait_until_feed_is_up(Duration::from_secs(5)).await?;
/// let repository = RedisRepository::connect(&settings);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RedisInvalidationFeed {
    state: watch::Receiver<FeedState>,
    /// Stop signal of the invalidation feed. Dropping this sender ends the feed.
    _stop: watch::Sender<bool>,
}

impl RedisInvalidationFeed {
    /// Starts a feed that reports every change of a session record in Redis to `listener`. Behind
    /// Sentinel, the feed reports changes at the current primary. Clusters are not supported: see
    /// [`RedisSettings::with_invalidation_feed`].
    ///
    /// The feed runs on the current tokio runtime. This function does not wait for Redis.
    ///
    /// While Redis replies, the feed calls [`InvalidationListener::feed_confirmed`] four times in
    /// each period of `max_silence`. If Redis is silent for `max_silence`, the feed calls
    /// [`InvalidationListener::feed_lost`].
    ///
    /// # Panics
    /// Panics if called outside a tokio runtime.
    #[must_use]
    pub fn subscribe(
        settings: &RedisSettings,
        max_silence: Duration,
        listener: Arc<dyn InvalidationListener>,
    ) -> Self {
        let settings = settings.clone();
        let max_silence = max_silence.max(MIN_SILENCE);
        let (stop, stopped) = watch::channel(false);
        let (state, known) = watch::channel(FeedState::Down);
        let subscription = Subscription {
            listener,
            max_silence,
            state,
        };
        tokio::spawn(maintain_feed(settings, subscription, stopped));
        Self {
            state: known,
            _stop: stop,
        }
    }

    /// Waits until the feed is up. Returns `false` if the feed is not up after the time `within`.
    /// In that case, the feed continues to connect in the background.
    ///
    /// # Errors
    /// Returns [`FeedRefused`] if Redis refuses to send invalidations.
    pub async fn wait_until_feed_is_up(&self, within: Duration) -> Result<bool, FeedRefused> {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| *state != FeedState::Down);
        match timeout(within, known).await {
            Ok(Ok(state)) => match &*state {
                FeedState::Refused(reason) => Err(FeedRefused {
                    reason: reason.clone(),
                }),
                state => Ok(*state == FeedState::Up),
            },
            _ => Ok(false),
        }
    }
}

/// Error: Redis refuses to send invalidations, and will refuse until the configuration of Redis
/// changes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "Redis refuses to send invalidations ({reason}): the Redis user of the service needs the \
     permissions client|tracking, info and set"
)]
pub struct FeedRefused {
    reason: String,
}
