//! The sentinels of a URL: where the primary is, and when it is another one.
//!
//! Each is asked all the time, not only before a connection is made, and on a connection of its
//! own, so that one that hangs costs nothing: a primary takes writes until somebody
//! tells it that it is none any more, and what it takes after another was chosen is lost. So it is
//! left as soon as a failover begins, be it healthy, frozen or cut off.

mod survey;
mod view;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use self::view::{View, verdict};
pub(crate) use self::{
    survey::{Survey, survey},
    view::Verdict,
};
use super::{
    Call,
    breaker::Breaker,
    client::Client,
    handshake::{ConnectFault, connect},
};
use crate::{
    RedisSettings,
    address::Address,
    backoff::Backoff,
    deployment::{Credentials, Deployment},
};

/// How often each sentinel is asked. What is written to a replaced primary in between may be lost.
const INTERVAL: Duration = Duration::from_millis(200);

/// So long a sentinel may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// For so long those that are silent at the start are waited for.
const START: Duration = Duration::from_secs(1);

/// For so long the end of a failover is waited for before that is told.
const FAILOVER: Duration = Duration::from_secs(2);

/// Sentinels that are asked in the background, until this is dropped.
pub(super) struct Sentinels {
    views: watch::Receiver<Vec<Option<View>>>,
    last_fault: watch::Receiver<String>,
    started: Instant,
    _asking: JoinSet<()>,
}

impl Sentinels {
    /// Those that `settings` name, if they do.
    pub(super) fn of(settings: &RedisSettings) -> Option<Self> {
        let Deployment::Sentinel {
            sentinels,
            service,
            credentials,
        } = &settings.deployment
        else {
            return None;
        };
        let (views, seen) = watch::channel(vec![None; sentinels.len()]);
        let (faults, last_fault) = watch::channel(String::new());
        let mut asking = JoinSet::new();
        for (number, sentinel) in sentinels.iter().enumerate() {
            let settings = for_sentinel(settings, sentinel, credentials);
            let (views, faults) = (views.clone(), faults.clone());
            let service = service.clone();
            asking.spawn(async move {
                let show = |view| views.send_modify(|views| views[number] = Some(view));
                let tell = |fault: &ConnectFault| drop(faults.send_replace(fault.to_string()));
                ask_always(&settings, &service, show, tell).await;
            });
        }
        Some(Self {
            views: seen,
            last_fault,
            started: Instant::now(),
            _asking: asking,
        })
    }

    /// The primary, when they agree on one.
    ///
    /// # Errors
    /// When they are replacing it, or none could tell.
    pub(super) async fn primary(&mut self) -> Result<Address, ConnectFault> {
        let patience = Instant::now() + FAILOVER;
        loop {
            let is_starting = self.started.elapsed() < START;
            let (verdict, until) = {
                let views = self.views.borrow_and_update();
                let verdict = verdict(&views, Instant::now());
                let most = views.len() / 2 + 1;
                let heard = views.iter().flatten().count();
                let waits = is_starting && heard < most;
                (
                    verdict,
                    if waits {
                        self.started + START
                    } else {
                        patience
                    },
                )
            };
            match verdict {
                Verdict::Primary(address) if until == patience => return Ok(address),
                Verdict::Unknown if !is_starting => {
                    let reason = self.last_fault.borrow().clone();
                    return Err(ConnectFault::NoSentinel { reason });
                }
                Verdict::FailingOver if Instant::now() >= patience => {
                    return Err(ConnectFault::FailingOver);
                }
                _ => {}
            }
            tokio::select! {
                _ = self.views.changed() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Ends when they have another primary than `current`, or are choosing one.
    pub(super) async fn until_another(&mut self, current: &Address) {
        loop {
            let verdict = verdict(&self.views.borrow_and_update(), Instant::now());
            match verdict {
                Verdict::Primary(address) if address != *current => return,
                Verdict::FailingOver => return,
                // While nobody can say, the primary that answers is the best there is.
                _ => {}
            }
            if self.views.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// What leads to one sentinel of those that `settings` name.
fn for_sentinel(
    settings: &RedisSettings,
    sentinel: &Address,
    credentials: &Credentials,
) -> RedisSettings {
    RedisSettings {
        credentials: credentials.clone(),
        database: None,
        ..settings.for_server(sentinel)
    }
}

/// Keeps a connection to one sentinel, and asks it again and again.
async fn ask_always(
    settings: &RedisSettings,
    service: &str,
    show: impl Fn(View),
    tell: impl Fn(&ConnectFault),
) {
    let mut backoff = Backoff::new();
    loop {
        match connect(settings, &Breaker::unwatched(), false).await {
            Ok(connected) => {
                let client = &connected.client;
                let fault = ask_while_it_answers(client, service, &mut backoff, &show).await;
                tell(&fault);
            }
            Err(fault) => tell(&fault),
        }
        sleep(backoff.next_pause()).await;
    }
}

async fn ask_while_it_answers(
    client: &Arc<Client>,
    service: &str,
    backoff: &mut Backoff,
    show: &impl Fn(View),
) -> ConnectFault {
    loop {
        let call = Call::uncounted(Arc::clone(client), Instant::now() + ANSWER_TIMEOUT);
        match View::ask(&call, service).await {
            Ok(view) => {
                *backoff = Backoff::new();
                show(view);
            }
            Err(fault) => return fault,
        }
        sleep(INTERVAL).await;
    }
}
