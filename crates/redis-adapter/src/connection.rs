//! One connection to Redis that owns its whole life: nothing outside this module knows how
//! connections are made and how they end.

mod advice;
mod breaker;
mod change_feed;
mod client;
mod driver;
mod establish;
mod reply;
mod resp;
mod sentinels;
mod server_settings;
mod statistics;
mod stream;
mod supervisor;
mod version;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tee_session_domain::{RepositoryError, StoreClock, StoreInstance};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use self::breaker::Breaker;
#[cfg(feature = "fuzzing")]
pub(crate) use self::resp::read_reply;
pub(crate) use self::{
    change_feed::{FeedState, Hearing, feed},
    client::{Asking, Client, Command},
    establish::{ConnectFault, PROBE_NAME, ask_once},
    reply::Reply,
    sentinels::{Survey, Verdict, survey},
    server_settings::{info, parameter},
    stream::DialFault,
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
pub(crate) struct Connection {
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
    breaker: Breaker,
    /// An answer came that fits no question of its kind: no later answer can be trusted.
    out_of_step: Notify,
    /// An answer came that may belong to another question.
    doubt: Notify,
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
    pub(crate) fn open(settings: RedisSettings, clock: Arc<StoreClock>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            settings,
            client: ArcSwapOption::empty(),
            instance: ArcSwapOption::empty(),
            breaker: Breaker::new(statistics::open_breakers()),
            out_of_step: Notify::new(),
            doubt: Notify::new(),
            clock,
            link: watch::Sender::new(Link::Untried),
        });
        tokio::spawn(supervisor::supervise(Arc::clone(&shared), stopped));
        Self {
            shared,
            stop: Arc::new(stop),
        }
    }

    /// The client, if there is one that works.
    pub(crate) fn client(&self, command: &'static str) -> Result<Arc<Client>, RedisFault> {
        if self.shared.breaker.is_open() {
            return Err(RedisFault::CircuitOpen { command });
        }
        self.client_to_probe(command)
    }

    /// The client even while commands are held back: for one question that nobody waits for.
    pub(crate) fn client_to_probe(&self, command: &'static str) -> Result<Arc<Client>, RedisFault> {
        self.shared
            .client
            .load_full()
            .ok_or(RedisFault::NotConnected { command })
    }

    /// The server that commands go to, if there is one that told its name.
    pub(crate) fn instance(&self) -> Option<StoreInstance> {
        self.shared.instance.load().as_deref().copied()
    }

    /// Notes what came of a command that was sent.
    pub(crate) fn note<T>(&self, result: &Result<T, RepositoryError>) {
        if matches!(result, Err(RepositoryError::Corrupt { .. })) {
            self.shared.doubt.notify_one();
        }
        match result.as_ref().err().and_then(RedisFault::of) {
            Some(RedisFault::TimedOut { .. } | RedisFault::Disconnected { .. }) => {
                self.shared.breaker.note_silence();
            }
            Some(RedisFault::Unexpected { .. }) => self.shared.out_of_step.notify_one(),
            // It was not sent.
            Some(RedisFault::NotConnected { .. } | RedisFault::CircuitOpen { .. }) => {}
            _ => self.shared.breaker.note_answer(),
        }
    }

    /// Whether a command would be sent now.
    pub(crate) fn serves(&self) -> bool {
        self.shared.client.load().is_some() && !self.shared.breaker.is_open()
    }

    /// Ends when the connection is up; `false` when it was closed.
    pub(crate) async fn wait_until_connected(&self) -> bool {
        let mut link = self.shared.link.subscribe();
        let is_settled = |link: &Link| matches!(link, Link::Up | Link::Closed);
        let link = link.wait_for(is_settled).await;
        link.is_ok_and(|link| *link == Link::Up)
    }

    /// Ends when the first attempt to connect has ended, however it did, or at `deadline`.
    pub(crate) async fn first_attempt(&self, deadline: Instant) {
        let mut link = self.shared.link.subscribe();
        let tried = link.wait_for(|link| *link != Link::Untried);
        let _ = timeout_at(deadline, tried).await;
    }

    /// Takes leave of Redis. Ends within about [`CLOSE_TIMEOUT`], whatever Redis does.
    pub(crate) async fn close(&self) {
        let mut link = self.shared.link.subscribe();
        self.stop.send_replace(true);
        let closed = link.wait_for(|link| *link == Link::Closed);
        let _ = tokio::time::timeout(CLOSE_TIMEOUT * 2, closed).await;
    }
}
