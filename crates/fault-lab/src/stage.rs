//! Test setup of a fault scenario: a service instance, and clients that send requests to the
//! instance before, during and after the fault.

use std::{fmt::Write, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

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
    load::{Habits, Load, PAUSE, Shared, SiteCalls},
    site::Site,
    tally::Tally,
};

/// Number of clients that send requests at the same time in each test.
pub(crate) const CLIENTS: usize = 16;

/// Time for which the clients send requests before the fault is injected.
const WARM_UP: Duration = Duration::from_millis(700);

/// Time without a failed request after which the service counts as recovered.
const CALM: Duration = Duration::from_millis(1_500);

/// Timeout for the service to recover after the end of a fault.
const RECOVERED_WITHIN: Duration = Duration::from_secs(20);

/// Timeout for a service instance to become ready after its start.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(10);

/// Timeout for a service instance to exit after SIGTERM: the default of `shutdown_timeout` (15 s)
/// plus one second.
pub(crate) const STOPPED_WITHIN: Duration = Duration::from_secs(16);

/// Timeout for the service to respond to a liveness probe.
const LIVE_WITHIN: Duration = Duration::from_secs(1);

/// Settings of a test run: the binary under test and the duration of each fault.
#[derive(Debug, Clone)]
pub(crate) struct Lab {
    /// Path of the tee-session binary under test.
    pub(crate) binary: PathBuf,
    /// Time for which each fault stays active.
    pub(crate) hold: Duration,
    /// Pause between two requests of one client.
    pub(crate) pause: Duration,
    /// Maximum duration of a request that is answered with 503 without waiting for Redis.
    pub(crate) immediate_limit: Duration,
    /// `true` if each fault stays active for [`SHORT_HOLD`] instead of [`HOLD`].
    pub(crate) is_short: bool,
}

/// Default time for which each fault stays active.
const HOLD: Duration = Duration::from_secs(5);

/// Time for which each fault stays active in a short run (`--short`).
const SHORT_HOLD: Duration = Duration::from_millis(1_500);

/// Default maximum duration of a request that is answered with 503 without waiting for Redis
/// ([`Lab::immediate_limit`]). `docs/reliability.md` contains the same limit.
const IMMEDIATE_LIMIT: Duration = Duration::from_millis(100);

/// Value of [`Lab::immediate_limit`] in a short run (`--short`). The limit is higher than
/// [`IMMEDIATE_LIMIT`], because several fault scenarios share the CPU cores. A request that waits
/// for Redis still exceeds the limit, because the Redis command timeout is 500 ms.
const SHORT_IMMEDIATE_LIMIT: Duration = Duration::from_millis(250);

/// Pause between two requests of one client in a short run (`--short`). The pause leaves CPU time
/// for other fault scenarios that run at the same time.
const SHORT_PAUSE: Duration = Duration::from_millis(30);

impl Lab {
    /// Creates the settings of a test run. The command-line argument `name` contains the path of
    /// the binary. Fails if the binary does not exist.
    pub(crate) fn of(arguments: &ArgMatches, name: &str, is_short: bool) -> anyhow::Result<Self> {
        let binary = arguments.get_one::<PathBuf>(name).context("no binary")?;
        let binary = binary
            .canonicalize()
            .with_context(|| format!("{} does not exist: build it first", binary.display()))?;
        let (hold, pause, immediate_limit) = if is_short {
            (SHORT_HOLD, SHORT_PAUSE, SHORT_IMMEDIATE_LIMIT)
        } else {
            (HOLD, PAUSE, IMMEDIATE_LIMIT)
        };
        Ok(Self {
            binary,
            hold,
            pause,
            immediate_limit,
            is_short,
        })
    }

    /// Returns a command that runs the binary under test with an empty environment.
    pub(crate) fn service(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts a service instance that stores sessions in the Redis at `redis_url`. `flags` are
    /// additional command-line flags of the instance.
    pub(crate) async fn start(&self, redis_url: &str, flags: &[&str]) -> ServiceProcess {
        let flags = [&service_flags(redis_url), flags].concat();
        ServiceProcess::start(self.service(), &flags).await
    }

    /// Starts a service instance, waits until the instance is ready, and starts clients that send
    /// requests to the instance.
    pub(crate) async fn stage(&self, redis_url: &str) -> Stage {
        let service = self.start(redis_url, &[]).await;
        service.until_ready(READY_WITHIN).await;
        self.stage_with(service).await
    }

    /// Starts clients that send requests to `service`, which must be ready. Returns after
    /// [`WARM_UP`]. A request failure in this time counts as a violated expectation.
    pub(crate) async fn stage_with(&self, service: ServiceProcess) -> Stage {
        let habits = Habits {
            pause: self.pause,
            ..Habits::default()
        };
        let load = Load::start_with(habits, CLIENTS, vec![service.base().to_owned()]);
        let probe = tokio::spawn(probe(load.shared().clone(), service.base().to_owned()));
        sleep(WARM_UP).await;
        let warm_up = load.shared().take_tally();
        let mut stage = Stage {
            resident: service.resident(),
            service,
            load,
            probe,
            hold: self.hold,
            allows_replication_loss: false,
            outcome: Outcome::default(),
        };
        if warm_up.last_failure.is_some() {
            stage
                .outcome
                .tally
                .add_timed_violation("a request failed before the fault");
        }
        stage
    }
}

/// Returns the command-line flags of every service instance in the fault lab.
pub(crate) fn service_flags(redis_url: &str) -> [&str; 6] {
    [
        "--redis-url",
        redis_url,
        // Turns off the limit on invalid tokens, because the test clients read deleted sessions
        // much more often than normal clients.
        "--invalid-token-limit",
        "0",
        "--workers",
        "2",
    ]
}

/// Command-line flags that enable the upstream gateway for sites on the loopback interface. They
/// also allow sessions with the host `golf.example`, which all other clients use in the base URL.
/// No instance sends requests to this host.
pub(crate) const GATEWAY_FLAGS: [&str; 8] = [
    "--upstream-gateway",
    "true",
    "--allowed-base-hosts",
    "127.0.0.1,golf.example",
    "--upstream-allow-http",
    "true",
    "--upstream-allowed-networks",
    "127.0.0.0/8",
];

/// Measured behaviour of the service in one fault scenario.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    /// Counts of responses and violated expectations, from the start of the fault to the end of the
    /// recovery.
    pub(crate) tally: Tally,
    /// Time from the end of the fault to the last failed request. `None` if the service did not
    /// recover, or if the scenario does not measure the recovery.
    pub(crate) recovered_after: Option<Duration>,
    /// Growth of the resident memory of the service during the scenario, in kilobytes.
    pub(crate) grown: i64,
    /// Remark that the table shows in parentheses after the name of the fault. Empty for no remark.
    pub(crate) remark: String,
    /// Reason why the fault could not be injected on this machine. `None` if the fault was
    /// injected. If there is a reason, the rule for the responses during the fault is not checked.
    pub(crate) impossible: Option<&'static str>,
}

/// A running service instance, together with the clients that send requests to the instance.
pub(crate) struct Stage {
    pub(crate) service: ServiceProcess,
    load: Load,
    probe: JoinHandle<()>,
    pub(crate) hold: Duration,
    resident: u64,
    allows_replication_loss: bool,
    outcome: Outcome,
}

impl Stage {
    pub(crate) fn shared(&self) -> &Shared {
        self.load.shared()
    }

    /// Waits for the duration `hold`. The injected fault stays active during this time.
    pub(crate) async fn hold(&self) {
        sleep(self.hold).await;
    }

    /// Counts a violated expectation in the outcome of the scenario. `what` describes the
    /// violation.
    pub(crate) fn add_violation(&mut self, what: impl Into<String>) {
        self.outcome.tally.add_violation(what);
    }

    /// Starts [`CLIENTS`] additional clients, which call `site` through the upstream gateway.
    /// Returns when the site has answered the first calls.
    pub(crate) async fn call_site(&mut self, site: Site) -> Arc<SiteCalls> {
        let calls = self.load.call_site(CLIENTS, site);
        self.until_answered(&calls).await;
        calls
    }

    /// Waits until the site has answered [`CLIENTS`] further calls. Counts a violated expectation
    /// if this takes longer than [`RECOVERED_WITHIN`].
    pub(crate) async fn until_answered(&mut self, calls: &SiteCalls) {
        let enough = calls.answered() + CLIENTS as u64;
        let answered = async {
            while calls.answered() < enough {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(RECOVERED_WITHIN, answered).await.is_err() {
            self.add_violation("calls to the site were not answered");
        }
    }

    /// Stops the clients and the liveness probe. A scenario must call this method before the
    /// service exits, because a request without a response counts as a violated expectation.
    pub(crate) async fn stop_load(&mut self) {
        self.probe.abort();
        self.load.stop().await;
    }

    /// Returns the resident memory of the service before the fault, in kilobytes.
    pub(crate) fn resident_before(&self) -> u64 {
        self.resident
    }

    /// Records in the outcome the reason why the fault could not be injected on this machine.
    pub(crate) fn impossible(&mut self, reason: &'static str) {
        self.outcome.impossible = Some(reason);
    }

    /// Checks that two of the three partitions of the cluster work while the third partition is
    /// unavailable. A partition is a primary with its hash slots. Requests for sessions in the two
    /// partitions must succeed, and new sessions must be created there.
    pub(crate) fn check_that_other_partitions_work(&mut self) {
        let tally = self.shared().tally().clone();
        let failed = tally.responses.get("503 store_unavailable").copied();
        // A request with an `Idempotency-Key` needs several partitions, and is repeated after a
        // failure, so such requests are not counted. Of all other requests, about one third fails,
        // because one of three partitions is unavailable. If two partitions were unavailable, two
        // thirds would fail. The limit is one half, because the share varies: the load uses only a
        // few sessions.
        let failed = failed.unwrap_or(0) - tally.keyed_failures;
        if failed * 2 > tally.requests - tally.keyed_requests {
            self.add_violation("sessions of other partitions failed");
        }
        if tally.failed_logins > 20 {
            self.add_violation("new sessions were not created in other partitions");
        }
    }

    /// Sets the remark that the table shows after the name of the fault.
    pub(crate) fn remark(&mut self, remark: impl Into<String>) {
        self.outcome.remark = remark.into();
    }

    /// Allows a failover to lose the last acknowledged writes, because Redis replication is
    /// asynchronous. After this call, lost writes do not count as violated expectations. The remark
    /// in the table mentions the number of lost writes instead.
    pub(crate) fn allow_replication_loss(&mut self) {
        self.allows_replication_loss = true;
    }

    /// Ends the period in which a failover may lose writes. Reads all sessions to find the writes
    /// lost in this period. Each write lost after this call counts as a violated expectation.
    pub(crate) async fn end_replication_loss(&mut self) {
        self.shared().check_all_paused().await;
        self.collect_tally();
        self.move_replication_loss_to_remark();
        self.allows_replication_loss = false;
    }

    /// If the scenario allows lost writes, reports them in the remark of the result instead of as
    /// violations. Lost writes are lost sessions, lost updates, undone deletions and lost
    /// idempotency records.
    fn move_replication_loss_to_remark(&mut self) {
        if !self.allows_replication_loss {
            return;
        }
        let violations = &mut self.outcome.tally.violations;
        let mut take = |what: Contradiction| violations.remove(&what.to_string()).unwrap_or(0);
        let (lost, came_back) = (take(Contradiction::Lost), take(Contradiction::CameBack));
        let undone = take(Contradiction::UpdateLost);
        let records = take(Contradiction::ReplayDiffers);
        let remark = &mut self.outcome.remark;
        let _ = write!(
            remark,
            "; replication lost {lost} sessions, {undone} updates, {came_back} logouts and {records} \
             idempotency records"
        );
    }

    /// Waits until the service has recovered from a fault that has just ended, and records the
    /// recovery time. Counts a violated expectation if the service does not recover within
    /// [`RECOVERED_WITHIN`].
    pub(crate) async fn wait_until_recovered(&mut self) {
        match timeout(RECOVERED_WITHIN, self.shared().until_calm(CALM)).await {
            Ok(after) => self.outcome.recovered_after = Some(after),
            Err(_) => self.add_violation("the service did not recover"),
        }
    }

    /// Moves the counts that the clients have collected so far to the outcome.
    fn collect_tally(&mut self) {
        let tally = self.shared().take_tally();
        self.outcome.tally.add(&tally);
    }

    /// Ends the scenario: stops the clients, reads every session, stops the service and returns the
    /// outcome.
    pub(crate) async fn end(mut self) -> Outcome {
        self.stop_load().await;
        self.collect_tally();
        if self.outcome.tally.requests < 20 {
            self.add_violation("there were fewer than 20 requests");
        }
        let grown = i64::try_from(self.service.resident()).unwrap_or(i64::MAX);
        self.outcome.grown = grown - i64::try_from(self.resident).unwrap_or(0);
        self.shared().check_all().await;
        let checked = self.shared().take_tally();
        if checked.last_failure.is_some() {
            self.add_violation(format!(
                "a request failed after the recovery ({})",
                checked.responses_text()
            ));
        }
        self.outcome.tally.timed_violations += checked.timed_violations;
        for (what, count) in checked.violations {
            *self.outcome.tally.violations.entry(what).or_default() += count;
        }
        let ready = self
            .service
            .request(Method::GET, "/health/ready")
            .send()
            .await;
        if !ready.is_ok_and(|ready| ready.status() == StatusCode::OK) {
            self.add_violation("the service was not ready after the recovery");
        }
        self.service.signal(Signal::SIGTERM);
        let ended = timeout(STOPPED_WITHIN, self.service.ended(STOPPED_WITHIN)).await;
        if !ended.is_ok_and(|status| status.code() == Some(0)) {
            self.add_violation("the service did not exit with code 0");
        }
        self.check_log_for_secrets();
        self.move_replication_loss_to_remark();
        self.outcome
    }

    /// Ends a scenario in which the service has already exited, and returns the outcome.
    pub(crate) async fn end_after_exit(mut self) -> Outcome {
        self.stop_load().await;
        self.collect_tally();
        self.check_log_for_secrets();
        self.outcome
    }

    /// Counts a violated expectation for each kind of forbidden text (token, cookie, panic) in the
    /// log of the service.
    fn check_log_for_secrets(&mut self) {
        for leak in self.shared().leaks(&self.service.output()) {
            self.add_violation(leak);
        }
    }
}

/// Sends liveness probes to the service with pauses of 100 ms, more often than Kubernetes does.
/// Counts each failed probe as a violated expectation.
async fn probe(shared: Arc<Shared>, base: String) {
    let client = reqwest::Client::builder().timeout(LIVE_WITHIN).build();
    let client = client.unwrap_or_default();
    loop {
        let live = client.get(format!("{base}/health/live")).send().await;
        if !live.is_ok_and(|live| live.status() == StatusCode::OK) {
            let mut tally = shared.tally();
            tally.add_timed_violation("the liveness probe failed");
        }
        sleep(Duration::from_millis(100)).await;
    }
}
