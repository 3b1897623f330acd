//! Changes, as Redis tells of them.

use std::{sync::Arc, time::Duration};

use tee_session_domain::ChangeListener;
use thiserror::Error;
use tokio::{sync::watch, time::timeout};

use crate::{
    RedisSettings,
    connection::{FeedState, Hearing, feed},
};

/// A sign of life takes a moment.
const LEAST_SILENCE: Duration = Duration::from_millis(10);

/// A listener hears of every change to a session's record, whoever makes it and however: writes,
/// removals, expiry and eviction. A FLUSHALL is found within a quarter of the longest silence.
///
/// It has a connection of its own, made anew whenever it is lost, on the runtime that it was started
/// on. It ends when this is dropped. The listener must do with little time: changes wait for it.
///
/// ```no_run
/// # use std::{sync::Arc, time::Duration};
/// # use tee_session_domain::ChangeListener;
/// # async fn example(near_cache: Arc<dyn ChangeListener>) -> Result<(), Box<dyn std::error::Error>> {
/// use tee_session_redis_adapter::{RedisChanges, RedisRepository, RedisSettings};
///
/// let settings = RedisSettings::new("redis://127.0.0.1:6379/0")?.telling_changes()?;
/// let changes = RedisChanges::tell(&settings, Duration::from_secs(1), near_cache);
/// let is_telling = changes.wait_until_telling(Duration::from_secs(5)).await?;
/// let repository = RedisRepository::connect(&settings);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RedisChanges {
    state: watch::Receiver<FeedState>,
    /// Dropping it ends the feed.
    _stop: watch::Sender<bool>,
}

impl RedisChanges {
    /// Begins to tell `listener` of changes at one server, or at whichever the sentinels name (not in
    /// a cluster: see [`RedisSettings::telling_changes`]), on the current tokio runtime and without waiting for
    /// Redis. It hears [`ChangeListener::told`] four times in `max_silence`; if Redis falls silent
    /// for that long it hears [`ChangeListener::lost`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn tell(
        settings: &RedisSettings,
        max_silence: Duration,
        listener: Arc<dyn ChangeListener>,
    ) -> Self {
        let settings = settings.clone();
        let max_silence = max_silence.max(LEAST_SILENCE);
        let (stop, stopped) = watch::channel(false);
        let (state, known) = watch::channel(FeedState::Silent);
        let hearing = Hearing {
            listener,
            max_silence,
            state,
        };
        tokio::spawn(feed(settings, hearing, stopped));
        Self {
            state: known,
            _stop: stop,
        }
    }

    /// Waits until changes are told; `false` when that took longer than `within`. It goes on trying
    /// all the same.
    ///
    /// # Errors
    /// When Redis refuses to tell of changes.
    pub async fn wait_until_telling(&self, within: Duration) -> Result<bool, ChangesRefused> {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| *state != FeedState::Silent);
        match timeout(within, known).await {
            Ok(Ok(state)) => match &*state {
                FeedState::Refused(reason) => Err(ChangesRefused {
                    reason: reason.clone(),
                }),
                state => Ok(*state == FeedState::Telling),
            },
            _ => Ok(false),
        }
    }
}

/// Redis does not tell of changes, and will not until somebody changes its settings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "Redis refuses to tell of changes ({reason}): it takes the permissions client|tracking, info and set"
)]
pub struct ChangesRefused {
    reason: String,
}
