//! State that the background task and all handles of a connection share.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tee_session_domain::{StoreClock, StoreInstance};
use tokio::sync::watch;

use super::{breaker::Breaker, client::Client};
use crate::RedisSettings;

/// State that the background task and all handles of a connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: RedisSettings,
    pub(super) client: ArcSwapOption<Client>,
    /// Identity of the connected server, derived from its run id. `None` while the connection is
    /// down, or if Redis does not report a run id.
    pub(super) instance: ArcSwapOption<StoreInstance>,
    pub(super) breaker: Arc<Breaker>,
    pub(super) clock: Arc<StoreClock>,
    pub(super) link: watch::Sender<Link>,
}

/// State of a connection to Redis, as its background task maintains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// The first attempt to establish the connection has not ended yet.
    Untried,
    Down,
    Up,
    /// The connection was closed and will not be established again.
    Closed,
}
