//! One connection to Redis that owns its whole life. fred is known here and nowhere else: nothing
//! outside this module knows how connections are made and how they end.

mod advice;
mod batch;
mod breaker;
mod call;
mod change_feed;
mod client;
mod command;
mod connections;
mod ended;
mod handshake;
mod options;
mod reach;
mod sentinels;
mod server_settings;
mod statistics;
mod supervisor;
mod trouble;
mod version;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tee_session_domain::{StoreClock, StoreInstance};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use self::{breaker::Breaker, client::Client};
pub(crate) use self::{
    call::Call,
    change_feed::{FeedState, Hearing, feed},
    command::{Command, Reply},
    connections::Connections,
    handshake::{ConnectFault, PROBE_NAME, call_once},
    reach::explain,
    sentinels::{Survey, Verdict, survey},
    server_settings::{info, parameter},
    version::{OLDEST_VERSION, Version},
};
use crate::{RedisFault, RedisSettings};

/// Bounds the farewell to Redis; a hung one must not hold up a shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A connection that is made, watched, remade and closed in the background.
///
/// It lives on the runtime that it was opened on. While there is no client that works, commands
/// fail at once; before it was first tried to make one, they may wait for that. It ends when it is
/// closed, or when the last clone is dropped.
#[derive(Debug, Clone)]
struct Connection {
    shared: Arc<Shared>,
    /// `true` asks the supervisor to end, and so does dropping the last sender.
    stop: Arc<watch::Sender<bool>>,
}

/// What the supervisor and the handles share.
#[derive(Debug)]
struct Shared {
    settings: RedisSettings,
    client: ArcSwapOption<Client>,
    /// The server that the client is connected to, if it told its name.
    instance: ArcSwapOption<StoreInstance>,
    breaker: Arc<Breaker>,
    clock: Arc<StoreClock>,
    link: watch::Sender<Link>,
}

/// Whether there is a client that works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// The first attempt to connect is under way.
    Untried,
    Down,
    Up,
    /// Closed, for good.
    Closed,
}

impl Connection {
    /// Opens a connection on the current tokio runtime, without waiting for Redis. The store's
    /// time is noted in `clock` whenever Redis tells it.
    fn open(settings: RedisSettings, clock: Arc<StoreClock>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            settings,
            client: ArcSwapOption::empty(),
            instance: ArcSwapOption::empty(),
            breaker: Arc::new(Breaker::new(statistics::open_breakers())),
            clock,
            link: watch::Sender::new(Link::Untried),
        });
        tokio::spawn(supervisor::supervise(Arc::clone(&shared), stopped));
        Self {
            shared,
            stop: Arc::new(stop),
        }
    }

    /// Begins a call, if there is a client that works.
    fn call(&self, command: &'static str, deadline: Instant) -> Result<Call, RedisFault> {
        if self.shared.breaker.is_open() {
            return Err(RedisFault::CircuitOpen { command });
        }
        self.probe(command, deadline)
    }

    /// Begins a call even while others are held back: one that nobody waits for.
    fn probe(&self, command: &'static str, deadline: Instant) -> Result<Call, RedisFault> {
        let client = self.shared.client.load_full();
        let client = client.ok_or(RedisFault::NotConnected { command })?;
        Ok(Call::new(client, deadline))
    }

    /// The server that commands go to, if there is one that told its name.
    fn instance(&self) -> Option<StoreInstance> {
        self.shared.instance.load().as_deref().copied()
    }

    /// Whether a command would be sent now.
    fn serves(&self) -> bool {
        self.shared.client.load().is_some() && !self.shared.breaker.is_open()
    }

    /// Ends when the connection is up; `false` when it was closed.
    async fn wait_until_connected(&self) -> bool {
        let mut link = self.shared.link.subscribe();
        let is_settled = |link: &Link| matches!(link, Link::Up | Link::Closed);
        let link = link.wait_for(is_settled).await;
        link.is_ok_and(|link| *link == Link::Up)
    }

    /// Ends when the first attempt to connect has ended, however it did, or at `deadline`.
    async fn first_attempt(&self, deadline: Instant) {
        let mut link = self.shared.link.subscribe();
        let tried = link.wait_for(|link| *link != Link::Untried);
        let _ = timeout_at(deadline, tried).await;
    }

    /// Takes leave of Redis. Ends within about [`CLOSE_TIMEOUT`], whatever Redis does.
    async fn close(&self) {
        let mut link = self.shared.link.subscribe();
        self.stop.send_replace(true);
        let closed = link.wait_for(|link| *link == Link::Closed);
        let _ = tokio::time::timeout(CLOSE_TIMEOUT * 2, closed).await;
    }
}
