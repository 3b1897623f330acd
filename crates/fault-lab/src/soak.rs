//! Hours of work in bad company: two instances under mixed load, and a random fault every few
//! seconds.

mod mishap;

use std::{
    fmt::Write,
    fs::File,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::sys::signal::Signal;
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, ServiceProcess};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use self::mishap::{MISHAPS, Mishap};
use crate::{
    load::Load,
    progress::say,
    stage::{Lab, service_flags},
    tally::Tally,
};

const CLIENTS: usize = 16;

const READY_WITHIN: Duration = Duration::from_secs(10);

/// All is well again when nothing failed for so long.
const CALM: Duration = Duration::from_secs(1);

/// Later than this is never.
const RECOVERED_WITHIN: Duration = Duration::from_secs(20);

const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

/// Kilobytes that an instance may grow by while it works up to its size.
const MAY_GROW: u64 = 16 * 1_024;

/// Persists every write before it is acknowledged: even a killed server keeps it.
const DURABLE: [&str; 6] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--maxmemory-policy",
    "noeviction",
];

struct Soak<'a> {
    lab: &'a Lab,
    redis: RedisProcess,
    proxy: FaultProxy,
    url: String,
    logs: TempDir,
    /// This one stays all the time.
    lasting: ServiceProcess,
    /// This one is stopped and killed.
    other: ServiceProcess,
    load: Load,
    total: Tally,
    recoveries: Vec<(Mishap, Duration)>,
}

/// Runs for so long; the table, and whether nothing was violated.
pub(crate) async fn run(lab: &Lab, time: Duration) -> anyhow::Result<(String, bool)> {
    let began = Instant::now();
    let mut soak = Soak::start(lab).await?;
    let resident_at_start = soak.lasting.resident();
    let mut next_progress = Instant::now() + PROGRESS_INTERVAL;
    while began.elapsed() < time {
        sleep(Duration::from_millis(fastrand::u64(1_000..3_000))).await;
        let (mishap, _) = MISHAPS[fastrand::usize(..MISHAPS.len())];
        let before = soak.total.violations.len();
        soak.suffer(mishap).await?;
        soak.count();
        if soak.total.violations.len() > before {
            say(&format!(
                "violated by {mishap:?}: {}",
                soak.total.violations_in_words()
            ));
        }
        if Instant::now() >= next_progress {
            soak.tell_progress(began.elapsed(), time);
            next_progress = Instant::now() + PROGRESS_INTERVAL;
        }
    }
    soak.finish(began, resident_at_start).await
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
        let load = Load::start(CLIENTS, bases.to_vec());
        Ok(Self {
            lab,
            redis,
            proxy,
            url,
            logs,
            lasting,
            other,
            load,
            total: Tally::default(),
            recoveries: Vec::new(),
        })
    }

    async fn suffer(&mut self, mishap: Mishap) -> anyhow::Result<()> {
        let duration = Duration::from_millis(fastrand::u64(300..4_000));
        match mishap {
            Mishap::RedisKilled => {
                self.redis.kill().await;
                sleep(duration).await;
                self.redis.start_again().await;
            }
            Mishap::RedisPaused => {
                self.redis.pause();
                sleep(duration).await;
                self.redis.resume();
            }
            Mishap::RedisFull => {
                self.redis
                    .command(&["CONFIG", "SET", "maxmemory", "1"])
                    .await;
                sleep(duration).await;
                self.redis
                    .command(&["CONFIG", "SET", "maxmemory", "0"])
                    .await;
            }
            Mishap::RedisReadOnly => {
                // Of a primary that is not there: it keeps its data.
                self.redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
                sleep(duration).await;
                self.redis.command(&["REPLICAOF", "NO", "ONE"]).await;
            }
            Mishap::ClientsKilled => {
                let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
                self.redis.command(&kill).await;
            }
            Mishap::Slow => {
                self.network(Fault::Delay(Duration::from_millis(100)), duration)
                    .await
            }
            Mishap::TooSlow => {
                self.network(Fault::Delay(Duration::from_millis(700)), duration)
                    .await
            }
            Mishap::Stalled => self.network(Fault::Stall, duration).await,
            Mishap::RequestsSwallowed => self.network(Fault::SwallowRequests, duration).await,
            Mishap::AnswersSwallowed => self.network(Fault::SwallowAnswers, duration).await,
            Mishap::Cut => {
                self.network(Fault::CutAfter(fastrand::usize(..2_000)), duration)
                    .await
            }
            Mishap::Reset => {
                self.network(Fault::ResetAfter(fastrand::usize(..2_000)), duration)
                    .await
            }
            Mishap::InstanceTerminated => self.restart(Signal::SIGTERM).await?,
            Mishap::InstanceKilled => self.restart(Signal::SIGKILL).await?,
        }
        self.recovered(mishap).await;
        Ok(())
    }

    async fn network(&self, fault: Fault, duration: Duration) {
        self.proxy.set(fault);
        sleep(duration).await;
        self.proxy.set(Fault::None);
    }

    /// Ends an instance, and starts another in its place. As behind a balancer, nobody asks one
    /// that stops; of one that is killed, what was in flight has no answer.
    async fn restart(&mut self, signal: Signal) -> anyhow::Result<()> {
        let is_kill = signal == Signal::SIGKILL;
        let lasting = vec![self.lasting.base().to_owned()];
        if is_kill {
            self.count();
            self.other.signal(signal);
        }
        self.load.shared().ask_only(lasting);
        // What was in flight there has been answered, or never will be.
        sleep(Duration::from_millis(1_500)).await;
        if is_kill {
            let mut tally = self.load.shared().take_tally();
            // One of each client.
            let lost = "a request without an answer";
            let is_lost = |what: &String, times: &u64| what == lost && *times <= CLIENTS as u64;
            tally.violations.retain(|what, times| !is_lost(what, times));
            self.total.add(&tally);
        } else {
            self.other.signal(signal);
        }
        let ended = self.other.ended(Duration::from_secs(20)).await;
        if !is_kill && ended.code() != Some(0) {
            self.total.violated("an instance did not stop cleanly");
        }
        self.other = instance(self.lab, &self.url, &self.logs, "other").await?;
        let both = [&self.lasting, &self.other].map(|instance| instance.base().to_owned());
        self.load.shared().ask_only(both.to_vec());
        Ok(())
    }

    /// Waits until nothing failed for a while.
    async fn recovered(&mut self, mishap: Mishap) {
        let calm = self.load.shared().until_calm(CALM);
        match timeout(RECOVERED_WITHIN, calm).await {
            Ok(after) => self.recoveries.push((mishap, after)),
            Err(_) => self.total.violated(format!("no recovery from {mishap:?}")),
        }
    }

    fn count(&mut self) {
        let counted = self.load.shared().take_tally();
        self.total.add(&counted);
    }

    fn tell_progress(&self, elapsed: Duration, time: Duration) {
        say(&format!(
            "{:>5} of {} s: {} requests, {} faults, longest answer {} ms, {} kB resident, violations {}",
            elapsed.as_secs(),
            time.as_secs(),
            self.total.requests,
            self.recoveries.len(),
            self.total.slowest.as_millis(),
            self.lasting.resident(),
            self.total.violations_in_words(),
        ));
    }

    async fn finish(mut self, began: Instant, resident: u64) -> anyhow::Result<(String, bool)> {
        self.load.stop().await;
        self.count();
        let resident_at_end = self.lasting.resident();
        let sessions = self.load.shared().history.all().len();
        self.load.shared().check_all().await;
        let checked = self.load.shared().take_tally();
        if checked.last_failure.is_some() {
            self.total.violated("it did not serve afterwards");
        }
        for (what, count) in checked.violations {
            *self.total.violations.entry(what).or_default() += count;
        }
        if resident_at_end > resident + MAY_GROW {
            self.total.violated("it grew");
        }
        for instance in [&mut self.lasting, &mut self.other] {
            instance.signal(Signal::SIGTERM);
            if instance.ended(Duration::from_secs(20)).await.code() != Some(0) {
                self.total.violated("an instance did not stop cleanly");
            }
        }
        self.look_for_tokens()?;
        let table = self.table(began.elapsed(), sessions, resident, resident_at_end);
        Ok((table, self.total.violations.is_empty()))
    }

    fn look_for_tokens(&mut self) -> anyhow::Result<()> {
        for log in std::fs::read_dir(self.logs.path())? {
            let log = std::fs::read_to_string(log?.path())?;
            for leak in self.load.shared().leaks(&log) {
                self.total.violated(leak);
            }
        }
        Ok(())
    }

    fn table(
        &self,
        time: Duration,
        sessions: usize,
        resident: u64,
        resident_at_end: u64,
    ) -> String {
        let mut text = String::from("| | |\n|---|---|\n");
        let mut line = |what: &str, value: String| {
            let _ = writeln!(text, "| {what} | {value} |");
        };
        line("time", format!("{:.1} min", time.as_secs_f64() / 60.0));
        line("requests", self.total.requests.to_string());
        for (answer, count) in &self.total.answers {
            line(&format!("answered {answer}"), count.to_string());
        }
        line(
            "longest answer",
            format!("{} ms", self.total.slowest.as_millis()),
        );
        line("sessions created", sessions.to_string());
        line(
            "faults, each recovered from",
            self.recoveries.len().to_string(),
        );
        line(
            "memory of the instance that stayed, at the start",
            format!("{resident} kB"),
        );
        line("and at the end", format!("{resident_at_end} kB"));
        line("violations", self.total.violations_in_words());
        text.push_str("\n| fault | times | recovered after: median | worst |\n|---|---|---|---|\n");
        for (mishap, name) in MISHAPS {
            let of_this = self.recoveries.iter().filter(|(other, _)| *other == mishap);
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

/// An instance that logs into a file, warnings only.
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
    let flags = [&service_flags(url), ["--log-level", "WARN"].as_slice()].concat();
    let service = ServiceProcess::start_unheard(command, &flags).await;
    service.until_ready(READY_WITHIN).await;
    Ok(service)
}
