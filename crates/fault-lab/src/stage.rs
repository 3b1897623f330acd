//! One fault: a service under load, before, during and after it.

use std::{fmt::Write, path::PathBuf, process::Stdio, time::Duration};

use anyhow::Context;
use clap::ArgMatches;
use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use tee_session_test_support::{Contradiction, ServiceProcess};
use tokio::{
    process::Command,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    load::{Load, Shared},
    tally::Tally,
};

pub(crate) const CLIENTS: usize = 16;

/// How long the load runs before the fault.
const WARM_UP: Duration = Duration::from_millis(700);

/// All is well again when nothing failed for so long.
const CALM: Duration = Duration::from_millis(1_500);

/// Later than this is never.
const RECOVERED_WITHIN: Duration = Duration::from_secs(20);

pub(crate) const READY_WITHIN: Duration = Duration::from_secs(10);

/// A stop takes at most `shutdown_timeout`.
pub(crate) const STOPPED_WITHIN: Duration = Duration::from_secs(16);

/// A liveness probe gives up after so long.
const LIVE_WITHIN: Duration = Duration::from_secs(1);

/// How to run the service, and for how long things are kept broken.
#[derive(Debug, Clone)]
pub(crate) struct Lab {
    /// The binary.
    pub(crate) binary: PathBuf,
    /// How long a fault lasts.
    pub(crate) hold: Duration,
    /// Everything a little shorter.
    pub(crate) is_short: bool,
}

/// How long a fault lasts.
const HOLD: Duration = Duration::from_secs(5);
const SHORT_HOLD: Duration = Duration::from_millis(1_500);

impl Lab {
    /// A lab for the binary that the argument `name` has the path of.
    pub(crate) fn of(arguments: &ArgMatches, name: &str, is_short: bool) -> anyhow::Result<Self> {
        let binary = arguments.get_one::<PathBuf>(name).context("no binary")?;
        let binary = binary
            .canonicalize()
            .with_context(|| format!("{} is not there: build it first", binary.display()))?;
        let hold = if is_short { SHORT_HOLD } else { HOLD };
        Ok(Self {
            binary,
            hold,
            is_short,
        })
    }

    /// The binary, without any setting of this machine's environment.
    pub(crate) fn service(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts one instance with this Redis.
    pub(crate) async fn start(&self, redis_url: &str, flags: &[&str]) -> ServiceProcess {
        let flags = [&service_flags(redis_url), flags].concat();
        ServiceProcess::start(self.service(), &flags).await
    }

    /// A service under load, when all is well.
    pub(crate) async fn stage(&self, redis_url: &str) -> Stage {
        let service = self.start(redis_url, &[]).await;
        service.until_ready(READY_WITHIN).await;
        self.stage_with(service).await
    }

    /// The same with an instance that has been started already.
    pub(crate) async fn stage_with(&self, service: ServiceProcess) -> Stage {
        let load = Load::start(CLIENTS, vec![service.base().to_owned()]);
        let probe = tokio::spawn(probe(load.shared().clone(), service.base().to_owned()));
        sleep(WARM_UP).await;
        let warm = load.shared().take_tally();
        let mut stage = Stage {
            resident: service.resident(),
            service,
            load,
            probe,
            hold: self.hold,
            may_lose: false,
            outcome: Outcome::default(),
        };
        if warm.last_failure.is_some() {
            stage.outcome.tally.violated("it did not serve before");
        }
        stage
    }
}

/// What every instance of the lab is set to.
pub(crate) fn service_flags(redis_url: &str) -> [&str; 6] {
    [
        "--redis-url",
        redis_url,
        // The lab asks for sessions that are gone, far more often than an honest client.
        "--invalid-token-limit",
        "0",
        "--workers",
        "2",
    ]
}

/// What came of a fault.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    /// From the fault to the end of the recovery.
    pub(crate) tally: Tally,
    /// From the end of the fault to the last request that failed for it.
    pub(crate) recovered_after: Option<Duration>,
    /// How many kilobytes the service holds more than before.
    pub(crate) grown: i64,
    /// What else is worth telling.
    pub(crate) remark: String,
    /// Why it could not be provoked here; then nothing was shown.
    pub(crate) impossible: Option<&'static str>,
}

/// A service under load.
pub(crate) struct Stage {
    pub(crate) service: ServiceProcess,
    load: Load,
    probe: JoinHandle<()>,
    pub(crate) hold: Duration,
    resident: u64,
    may_lose: bool,
    outcome: Outcome,
}

impl Stage {
    pub(crate) fn shared(&self) -> &Shared {
        self.load.shared()
    }

    /// Keeps things as they are now, for as long as a fault lasts.
    pub(crate) async fn hold(&self) {
        sleep(self.hold).await;
    }

    pub(crate) fn violated(&mut self, what: impl Into<String>) {
        self.outcome.tally.violated(what);
    }

    /// The service is about to end: nobody asks it any more, and nobody wants it live.
    pub(crate) async fn leave(&mut self) {
        self.probe.abort();
        self.load.stop().await;
    }

    /// What could not be otherwise is no violation.
    pub(crate) fn forgive(&mut self, what: &str, most: u64) {
        self.count();
        let violations = &mut self.outcome.tally.violations;
        violations.retain(|other, times| other != what || *times > most);
    }

    /// What the service held before the fault, in kilobytes.
    pub(crate) fn resident_before(&self) -> u64 {
        self.resident
    }

    pub(crate) fn impossible(&mut self, why: &'static str) {
        self.outcome.impossible = Some(why);
    }

    /// Only sessions of the lost part may fail, and new ones are made elsewhere.
    pub(crate) fn check_that_most_are_served(&mut self) {
        let tally = self.shared().tally().clone();
        let failed = tally.answers.get("503 store_unavailable").copied();
        // A third of the sessions is away; a few more requests meet the fault before it is known.
        if failed.unwrap_or(0) * 5 > tally.requests * 2 {
            self.violated("more than its own sessions were harmed");
        }
        if tally.failed_logins > 20 {
            self.violated("new sessions were not made elsewhere");
        }
    }

    pub(crate) fn remark(&mut self, remark: impl Into<String>) {
        self.outcome.remark = remark.into();
    }

    /// From now on a failover may lose what was acknowledged in the last moment, because
    /// replication is asynchronous: how much it lost is a remark, and no violation.
    pub(crate) fn replication_may_lose(&mut self) {
        self.may_lose = true;
    }

    /// The failover is over: what it lost is counted now, and whatever is lost from now on is a
    /// violation.
    pub(crate) async fn replication_has_lost(&mut self) {
        self.shared().check_all_at_rest().await;
        self.count();
        self.take_in_what_replication_lost();
        self.may_lose = false;
    }

    fn take_in_what_replication_lost(&mut self) {
        if !self.may_lose {
            return;
        }
        let violations = &mut self.outcome.tally.violations;
        let mut take = |what: Contradiction| violations.remove(&what.to_string()).unwrap_or(0);
        let (lost, came_back) = (take(Contradiction::Lost), take(Contradiction::CameBack));
        let undone = take(Contradiction::UpdateLost);
        let remark = &mut self.outcome.remark;
        let _ = write!(
            remark,
            "; replication lost {lost} sessions, {undone} updates and {came_back} logouts"
        );
    }

    /// The fault is over: waits until all is well again, and notes when that was.
    pub(crate) async fn healed(&mut self) {
        match timeout(RECOVERED_WITHIN, self.shared().until_calm(CALM)).await {
            Ok(after) => self.outcome.recovered_after = Some(after),
            Err(_) => self.violated("it did not recover"),
        }
    }

    /// Takes in what was counted so far.
    fn count(&mut self) {
        let counted = self.shared().take_tally();
        self.outcome.tally.add(&counted);
    }

    /// Asks for every session, stops the service, and gives what came of it all.
    pub(crate) async fn end(mut self) -> Outcome {
        self.leave().await;
        self.count();
        if self.outcome.tally.requests < 20 {
            self.violated("there was no load");
        }
        let grown = i64::try_from(self.service.resident()).unwrap_or(i64::MAX);
        self.outcome.grown = grown - i64::try_from(self.resident).unwrap_or(0);
        self.shared().check_all().await;
        let checked = self.shared().take_tally();
        if checked.last_failure.is_some() {
            self.violated("it did not serve afterwards");
        }
        for (what, count) in checked.violations {
            *self.outcome.tally.violations.entry(what).or_default() += count;
        }
        let ready = self
            .service
            .request(Method::GET, "/health/ready")
            .send()
            .await;
        if !ready.is_ok_and(|ready| ready.status() == StatusCode::OK) {
            self.violated("it was not ready afterwards");
        }
        self.service.signal(Signal::SIGTERM);
        let ended = timeout(STOPPED_WITHIN, self.service.ended(STOPPED_WITHIN)).await;
        if !ended.is_ok_and(|status| status.code() == Some(0)) {
            self.violated("it did not stop cleanly");
        }
        self.look_for_tokens();
        self.take_in_what_replication_lost();
        self.outcome
    }

    /// Gives what came of it, of a service that has ended already.
    pub(crate) async fn end_of_a_stopped_one(mut self) -> Outcome {
        self.leave().await;
        self.count();
        self.look_for_tokens();
        self.outcome
    }

    /// No token may stand in the log.
    fn look_for_tokens(&mut self) {
        for leak in self.shared().leaks(&self.service.output()) {
            self.violated(leak);
        }
    }
}

/// Asks for liveness all the time, as Kubernetes would, only more often.
async fn probe(shared: std::sync::Arc<Shared>, base: String) {
    let client = reqwest::Client::builder().timeout(LIVE_WITHIN).build();
    let client = client.unwrap_or_default();
    loop {
        let live = client.get(format!("{base}/health/live")).send().await;
        if !live.is_ok_and(|live| live.status() == StatusCode::OK) {
            shared.tally().violated("not live");
        }
        sleep(Duration::from_millis(100)).await;
    }
}
