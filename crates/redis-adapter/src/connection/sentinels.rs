//! Monitoring of the sentinels: determines the current primary and detects a failover.
//!
//! Each sentinel is polled continuously over a separate connection. A sentinel that hangs therefore
//! does not delay the other sentinels.
//!
//! Polling only before each new connection would not be enough. A replaced primary still accepts
//! writes for some time after a failover, and these writes are lost. The connection to a primary is
//! therefore closed as soon as a failover begins, even if that primary still replies.

mod poll;
mod sentinel_report;
mod sentinel_settings;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

pub(crate) use self::{
    poll::{SentinelPoll, poll_sentinels},
    sentinel_report::Consensus,
};
use self::{
    sentinel_report::{SentinelReport, consensus},
    sentinel_settings::for_sentinel,
};
use super::{
    breaker::Breaker,
    call::Call,
    client::Client,
    explanation::Explanation,
    handshake::{ConnectFault, connect},
};
use crate::{RedisSettings, address::Address, backoff::Backoff, deployment::Deployment};

/// Interval between two polls of one sentinel. A failover may be detected one interval late. Writes
/// to the replaced primary during this interval may be lost.
const INTERVAL: Duration = Duration::from_millis(200);

/// Timeout for the reply of a sentinel to one poll of the primary.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time to wait until a majority of the sentinels has replied, counted from the start of
/// the polling.
const STARTUP_WAIT: Duration = Duration::from_secs(1);

/// Maximum time to wait for the end of a failover. After this time, the attempt to connect fails.
const FAILOVER_WAIT: Duration = Duration::from_secs(2);

/// Handle to the background polling of all sentinels. Dropping the handle ends the polling.
pub(super) struct Sentinels {
    reports: watch::Receiver<Vec<Option<SentinelReport>>>,
    last_fault: watch::Receiver<String>,
    started: Instant,
    /// Address that the last call of [`primary`](Self::primary) returned; `None` if it failed.
    found: Option<Address>,
    _polling: JoinSet<()>,
}

impl Sentinels {
    /// Starts to poll the sentinels in `settings`. Returns `None` if the deployment has no
    /// sentinels.
    pub(super) fn of(settings: &RedisSettings) -> Option<Self> {
        let Deployment::Sentinel {
            sentinels,
            service,
            credentials,
        } = &settings.deployment
        else {
            return None;
        };
        let (reports, received_reports) = watch::channel(vec![None; sentinels.len()]);
        let (faults, last_fault) = watch::channel("no sentinel has replied yet".to_owned());
        let mut polling = JoinSet::new();
        for (number, sentinel) in sentinels.iter().enumerate() {
            let settings = for_sentinel(settings, sentinel, credentials);
            let (reports, faults) = (reports.clone(), faults.clone());
            let service = service.clone();
            polling.spawn(async move {
                let on_report =
                    |report| reports.send_modify(|reports| reports[number] = Some(report));
                poll_forever(&settings, &service, on_report, &faults).await;
            });
        }
        Some(Self {
            reports: received_reports,
            last_fault,
            started: Instant::now(),
            found: None,
            _polling: polling,
        })
    }

    /// Returns the address of the primary that the sentinels agree on.
    ///
    /// # Errors
    /// - [`ConnectFault::FailingOver`] if a failover does not end within [`FAILOVER_WAIT`].
    /// - [`ConnectFault::NoSentinel`] if no sentinel has replied recently.
    pub(super) async fn primary(&mut self) -> Result<Address, ConnectFault> {
        let failover_deadline = Instant::now() + FAILOVER_WAIT;
        self.found = None;
        loop {
            let is_starting = self.started.elapsed() < STARTUP_WAIT;
            let (consensus, until) = {
                let reports = self.reports.borrow_and_update();
                let consensus = consensus(&reports, Instant::now());
                let majority = reports.len() / 2 + 1;
                let received = reports.iter().flatten().count();
                let waits = is_starting && received < majority;
                (
                    consensus,
                    if waits {
                        self.started + STARTUP_WAIT
                    } else {
                        failover_deadline
                    },
                )
            };
            match consensus {
                Consensus::Primary(address) if until == failover_deadline => {
                    self.found = Some(address.clone());
                    return Ok(address);
                }
                Consensus::Unknown if !is_starting => {
                    let reason = self.last_fault.borrow().clone();
                    return Err(ConnectFault::NoSentinel { reason });
                }
                Consensus::FailingOver if Instant::now() >= failover_deadline => {
                    return Err(ConnectFault::FailingOver);
                }
                _ => {}
            }
            tokio::select! {
                _ = self.reports.changed() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Returns settings for the server to which the last attempt to connect was made: a copy of
    /// `settings` with the address that the sentinels named. If the sentinels named no address, or
    /// if there are no sentinels, returns `settings` unchanged.
    pub(super) fn attempted(sentinels: Option<&Self>, settings: &RedisSettings) -> RedisSettings {
        match sentinels.and_then(|sentinels| sentinels.found.as_ref()) {
            Some(primary) => settings.for_server(primary),
            None => settings.clone(),
        }
    }

    /// Waits until the sentinels start a failover, or name a primary other than `current`.
    pub(super) async fn until_another(&mut self, current: &Address) {
        loop {
            let consensus = consensus(&self.reports.borrow_and_update(), Instant::now());
            match consensus {
                Consensus::Primary(address) if address != *current => return,
                Consensus::FailingOver => return,
                // The primary stays in use if the sentinels still name it, or if no sentinel
                // replies.
                _ => {}
            }
            if self.reports.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// Polls one sentinel in an endless loop, and reconnects after each fault. Passes each report to
/// `on_report`, and sends the explanation of each fault to `faults`.
async fn poll_forever(
    settings: &RedisSettings,
    service: &str,
    on_report: impl Fn(SentinelReport),
    faults: &watch::Sender<String>,
) {
    let mut backoff = Backoff::new();
    loop {
        let fault = match connect(settings, &Breaker::without_metrics(), false).await {
            Ok(connected) => {
                let client = &connected.client;
                poll_while_connected(client, service, &mut backoff, &on_report).await
            }
            Err(fault) => fault,
        };
        let explain = async {
            let explanation = Explanation::find(settings, &settings.server_name(), fault).await;
            faults.send_replace(explanation.what);
        };
        // The search for the cause takes time. It runs during the pause.
        tokio::join!(explain, sleep(backoff.next_pause()));
    }
}

async fn poll_while_connected(
    client: &Arc<Client>,
    service: &str,
    backoff: &mut Backoff,
    on_report: &impl Fn(SentinelReport),
) -> ConnectFault {
    loop {
        let call = Call::uncounted(Arc::clone(client), Instant::now() + REPLY_TIMEOUT);
        match SentinelReport::request(&call, service).await {
            Ok(report) => {
                *backoff = Backoff::new();
                on_report(report);
            }
            Err(fault) => return fault,
        }
        sleep(INTERVAL).await;
    }
}
