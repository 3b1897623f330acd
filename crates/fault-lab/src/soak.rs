//! Soak test: clients send requests to two service instances, while a random fault is injected
//! every few seconds.

mod memory;
mod soak_fault;

use std::{
    fmt::Write,
    fs::File,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::sys::signal::Signal;
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, ServiceProcess};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use self::{
    memory::Memory,
    soak_fault::{SOAK_FAULTS, SoakFault},
};
use crate::{
    load::{Load, SITE_CLIENTS, SiteCalls},
    progress::say,
    site::{Behaviour, Site},
    stage::{GATEWAY_FLAGS, Lab, service_flags},
    tally::Tally,
};

/// Number of clients that send requests at the same time.
const CLIENTS: usize = 16;

/// Timeout for a service instance to become ready after its start.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Time without a failed request after which the service counts as recovered.
const CALM: Duration = Duration::from_secs(1);

/// Timeout for the service to recover after the end of a fault.
const RECOVERED_WITHIN: Duration = Duration::from_secs(20);

/// Minimum interval between two progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

/// Time under load after which the memory of an instance is measured for the first time. By then,
/// the code that serves requests is loaded. In a debug build, this code is most of the memory.
const WARM_UP: Duration = Duration::from_secs(2);

/// Redis options of the soak test. Redis persists each write before it acknowledges the write, so a
/// killed server loses no acknowledged write. Eviction is disabled.
const DURABLE: [&str; 6] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--maxmemory-policy",
    "noeviction",
];

/// Additional command-line flags of each instance. If a site hangs, the response timeout ends the
/// call before the client stops waiting.
const SOAK_FLAGS: [&str; 4] = [
    "--log-level",
    "WARN",
    "--upstream-response-timeout-ms",
    "3000",
];

/// State of a running soak test.
struct Soak<'a> {
    lab: &'a Lab,
    redis: RedisProcess,
    proxy: FaultProxy,
    url: String,
    logs: TempDir,
    /// Service instance that runs during the whole test.
    lasting: ServiceProcess,
    /// Service instance that some of the faults stop or kill. A new instance then takes its place.
    other: ServiceProcess,
    load: Load,
    site_calls: Arc<SiteCalls>,
    total: Tally,
    /// Injected faults, each with the time that the service needed to recover.
    recoveries: Vec<(SoakFault, Duration)>,
}

/// Runs the soak test for the duration `time`. Returns the result table, and `true` if no
/// expectation was violated.
pub(crate) async fn run(lab: &Lab, time: Duration) -> anyhow::Result<(String, bool)> {
    let began = Instant::now();
    let mut soak = Soak::start(lab).await?;
    sleep(WARM_UP).await;
    let mut memory = Memory::new(soak.lasting.resident());
    let mut next_progress = Instant::now() + PROGRESS_INTERVAL;
    while began.elapsed() < time {
        sleep(Duration::from_millis(fastrand::u64(1_000..3_000))).await;
        let (fault, _) = SOAK_FAULTS[fastrand::usize(..SOAK_FAULTS.len())];
        let before = soak.total.violations.len();
        soak.inject(fault).await?;
        soak.collect_tally();
        memory.note(began.elapsed(), soak.lasting.resident());
        if soak.total.violations.len() > before {
            say(&format!(
                "violations during {fault:?}: {}",
                soak.total.violations_text()
            ));
        }
        if Instant::now() >= next_progress {
            soak.print_progress(began.elapsed(), time);
            next_progress = Instant::now() + PROGRESS_INTERVAL;
        }
    }
    soak.finish(began, &memory).await
}

impl<'a> Soak<'a> {
    async fn start(lab: &'a Lab) -> anyhow::Result<Self> {
        let redis = RedisProcess::start_with(&DURABLE).await;
        let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
        let url = format!("redis://{}/0", proxy.address());
        let logs = tempfile::tempdir().context("no temporary folder")?;
        let lasting = instance(lab, &url, &logs, "lasting").await?;
        let other = instance(lab, &url, &logs, "other").await?;
        let bases = [&lasting, &other].map(|instance| instance.base().to_owned());
        let mut load = Load::start(CLIENTS, bases.to_vec());
        let site_calls = load.call_site(SITE_CLIENTS, Site::start()?);
        Ok(Self {
            lab,
            redis,
            proxy,
            url,
            logs,
            lasting,
            other,
            load,
            site_calls,
            total: Tally::default(),
            recoveries: Vec::new(),
        })
    }

    /// Injects `fault` for a random duration, then waits until the service has recovered.
    async fn inject(&mut self, fault: SoakFault) -> anyhow::Result<()> {
        let duration = Duration::from_millis(fastrand::u64(300..4_000));
        match fault {
            SoakFault::RedisKilled => {
                self.redis.kill().await;
                sleep(duration).await;
                self.redis.start_again().await;
            }
            SoakFault::RedisPaused => {
                self.redis.pause();
                sleep(duration).await;
                self.redis.resume();
            }
            SoakFault::RedisFull => {
                self.redis
                    .command(&["CONFIG", "SET", "maxmemory", "1"])
                    .await;
                sleep(duration).await;
                self.redis
                    .command(&["CONFIG", "SET", "maxmemory", "0"])
                    .await;
            }
            SoakFault::RedisReadOnly => {
                // No server listens on port 1, so Redis becomes a replica but keeps its data.
                self.redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
                sleep(duration).await;
                self.redis.command(&["REPLICAOF", "NO", "ONE"]).await;
            }
            SoakFault::ClientsKilled => {
                let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
                self.redis.command(&kill).await;
            }
            SoakFault::RepliesSlow => {
                self.inject_network_fault(Fault::Delay(Duration::from_millis(100)), duration)
                    .await
            }
            SoakFault::RepliesTooSlow => {
                self.inject_network_fault(Fault::Delay(Duration::from_millis(700)), duration)
                    .await
            }
            SoakFault::ConnectionsStalled => {
                self.inject_network_fault(Fault::Stall, duration).await
            }
            SoakFault::RequestsDropped => {
                self.inject_network_fault(Fault::SwallowRequests, duration)
                    .await
            }
            SoakFault::RepliesDropped => {
                self.inject_network_fault(Fault::SwallowAnswers, duration)
                    .await
            }
            SoakFault::ConnectionsClosed => {
                self.inject_network_fault(Fault::CutAfter(fastrand::usize(..2_000)), duration)
                    .await
            }
            SoakFault::ConnectionsReset => {
                self.inject_network_fault(Fault::ResetAfter(fastrand::usize(..2_000)), duration)
                    .await
            }
            SoakFault::SiteRefuses => {
                self.site_calls.site.refuse_connections().await;
                sleep(duration).await;
                self.site_calls.site.accept_connections()?;
            }
            SoakFault::SiteHangs => self.misbehave(Behaviour::Hangs, duration).await,
            SoakFault::SiteCuts => self.misbehave(Behaviour::Cuts, duration).await,
            SoakFault::InstanceTerminated => self.restart(Signal::SIGTERM).await?,
            SoakFault::InstanceKilled => self.restart(Signal::SIGKILL).await?,
        }
        self.wait_until_recovered(fault).await;
        Ok(())
    }

    /// Makes the proxy between the service and Redis apply `fault` for the time `duration`.
    async fn inject_network_fault(&self, fault: Fault, duration: Duration) {
        self.proxy.set(fault);
        sleep(duration).await;
        self.proxy.set(Fault::None);
    }

    /// Gives the site the behaviour `behaviour` for the time `duration`.
    async fn misbehave(&self, behaviour: Behaviour, duration: Duration) {
        self.site_calls.site.set(behaviour);
        sleep(duration).await;
        self.site_calls.site.set(Behaviour::Answers);
    }

    /// Stops the instance `other` with `signal`, and starts a new instance as its replacement.
    ///
    /// If the signal is SIGTERM, the clients stop sending requests to the instance before the
    /// signal, as a load balancer does. If the signal is SIGKILL, requests in flight get no
    /// response.
    async fn restart(&mut self, signal: Signal) -> anyhow::Result<()> {
        let is_kill = signal == Signal::SIGKILL;
        let lasting = vec![self.lasting.base().to_owned()];
        if is_kill {
            self.load
                .shared()
                .expect_no_response_from(self.other.base());
            self.other.signal(signal);
        }
        self.load.shared().send_only_to(lasting);
        if !is_kill {
            // After the pause, no request to the instance is in flight.
            drop(self.load.shared().pause().await);
            self.other.signal(signal);
        }
        let ended = self.other.ended(Duration::from_secs(20)).await;
        if !is_kill && ended.code() != Some(0) {
            self.total
                .add_violation("an instance did not exit with code 0");
        }
        self.other = instance(self.lab, &self.url, &self.logs, "other").await?;
        let both = [&self.lasting, &self.other].map(|instance| instance.base().to_owned());
        self.load.shared().send_only_to(both.to_vec());
        Ok(())
    }

    /// Waits until the service has recovered from `fault`, and records the recovery time. Counts a
    /// violated expectation if the service does not recover within [`RECOVERED_WITHIN`].
    async fn wait_until_recovered(&mut self, fault: SoakFault) {
        let calm = self.load.shared().until_calm(CALM);
        match timeout(RECOVERED_WITHIN, calm).await {
            Ok(after) => self.recoveries.push((fault, after)),
            Err(_) => self
                .total
                .add_violation(format!("no recovery from {fault:?}")),
        }
    }

    /// Moves the counts that the clients have collected so far to the total.
    fn collect_tally(&mut self) {
        let tally = self.load.shared().take_tally();
        self.total.add(&tally);
    }

    fn print_progress(&self, elapsed: Duration, time: Duration) {
        say(&format!(
            "{:>5} of {} s: {} requests, {} faults, slowest response {} ms, {} kB resident, violations {}",
            elapsed.as_secs(),
            time.as_secs(),
            self.total.requests,
            self.recoveries.len(),
            self.total.slowest.as_millis(),
            self.lasting.resident(),
            self.total.violations_text(),
        ));
    }

    /// Ends the soak test: stops the clients, reads every session and stops the instances. Returns
    /// the result table, and `true` if no expectation was violated. `began` is the start of the
    /// test. `memory` is the memory of the instance `lasting`.
    async fn finish(mut self, began: Instant, memory: &Memory) -> anyhow::Result<(String, bool)> {
        self.load.stop().await;
        self.collect_tally();
        let resident_at_end = self.lasting.resident();
        let sessions = self.load.shared().history.all().len();
        self.load.shared().check_all().await;
        let checked = self.load.shared().take_tally();
        if checked.last_failure.is_some() {
            self.total.add_violation(format!(
                "a request failed after the last recovery ({})",
                checked.responses_text()
            ));
        }
        for (what, count) in checked.violations {
            *self.total.violations.entry(what).or_default() += count;
        }
        if !memory.is_within_limits(resident_at_end) {
            self.total
                .add_violation("the memory of an instance grew too much");
        }
        for instance in [&mut self.lasting, &mut self.other] {
            instance.signal(Signal::SIGTERM);
            if instance.ended(Duration::from_secs(20)).await.code() != Some(0) {
                self.total
                    .add_violation("an instance did not exit with code 0");
            }
        }
        self.check_log_for_secrets()?;
        let table = self.table(began.elapsed(), sessions, &memory.text(resident_at_end));
        Ok((table, self.total.violations.is_empty()))
    }

    /// Counts a violated expectation for each kind of forbidden text (token, cookie, panic) in the
    /// logs of the instances.
    fn check_log_for_secrets(&mut self) -> anyhow::Result<()> {
        for log in std::fs::read_dir(self.logs.path())? {
            let log = std::fs::read_to_string(log?.path())?;
            for leak in self.load.shared().leaks(&log) {
                self.total.add_violation(leak);
            }
        }
        Ok(())
    }

    fn table(&self, time: Duration, sessions: usize, memory: &str) -> String {
        let mut text = String::from("| | |\n|---|---|\n");
        let mut line = |what: &str, value: String| {
            let _ = writeln!(text, "| {what} | {value} |");
        };
        line("time", format!("{:.1} min", time.as_secs_f64() / 60.0));
        line("requests", self.total.requests.to_string());
        for (response, count) in &self.total.responses {
            line(&format!("response: {response}"), count.to_string());
        }
        line(
            "slowest response",
            format!("{} ms", self.total.slowest.as_millis()),
        );
        line("sessions created", sessions.to_string());
        line(
            "merges of `Set-Cookie` lines",
            self.total.merges.to_string(),
        );
        line(
            "calls that the site has answered",
            self.site_calls.answered().to_string(),
        );
        line(
            "faults, each followed by recovery",
            self.recoveries.len().to_string(),
        );
        line(
            "resident memory of the instance that was not restarted",
            memory.to_owned(),
        );
        line("violations", self.total.violations_text());
        text.push_str(
            "\n| fault | times | recovered after: median | maximum |\n|---|---|---|---|\n",
        );
        for (fault, name) in SOAK_FAULTS {
            let of_this = self.recoveries.iter().filter(|(other, _)| *other == fault);
            let mut after: Vec<_> = of_this.map(|(_, after)| after.as_millis()).collect();
            after.sort_unstable();
            if let (Some(median), Some(worst)) = (after.get(after.len() / 2), after.last()) {
                let _ = writeln!(
                    text,
                    "| {name} | {} | {median} ms | {worst} ms |",
                    after.len()
                );
            }
        }
        text
    }
}

/// Starts a service instance that logs warnings and errors to the file `name` in the folder `logs`.
/// Waits until the instance is ready.
async fn instance(
    lab: &Lab,
    url: &str,
    logs: &TempDir,
    name: &str,
) -> anyhow::Result<ServiceProcess> {
    let log = logs.path().join(name);
    let log = File::options()
        .create(true)
        .append(true)
        .open(log)
        .context("no log file")?;
    let mut command = lab.service();
    command
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log));
    let flags = [&service_flags(url), GATEWAY_FLAGS.as_slice(), &SOAK_FLAGS].concat();
    let service = ServiceProcess::start_without_capture(command, &flags).await;
    service.until_ready(READY_WITHIN).await;
    Ok(service)
}
