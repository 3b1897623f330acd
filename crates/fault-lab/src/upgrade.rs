//! Test of a rolling upgrade and rollback while clients send requests. The upgrade replaces the
//! instances of an old binary by instances of a new binary, one at a time. The rollback does the
//! reverse. No request may fail. Two further tests follow: with sessions that the old binary cannot
//! read, and with sessions that have cookie attributes.

mod jars;
mod odd_sessions;
pub(crate) mod record;

use std::{fmt::Write, path::PathBuf};

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use nix::sys::signal::Signal;
use tee_session_test_support::{RedisCluster, RedisProcess, ServiceProcess};
use tokio::time::sleep;

use crate::{
    load::{Habits, Load},
    progress::say,
    report,
    stage::{CLIENTS, Lab, READY_WITHIN, STOPPED_WITHIN},
    tally::Tally,
};

/// A configuration in which the upgrade is tested: the kind of Redis deployment, and the
/// command-line flags of the service instances.
struct Setting {
    name: &'static str,
    /// Flags of the instances in the first step of the upgrade. The sessions that the first step
    /// creates stay in use in the later steps.
    first_flags: &'static [&'static str],
    /// Flags of the instances in every step of the upgrade after the first step.
    flags: &'static [&'static str],
    is_cluster: bool,
}

const PLAIN: &[&str] = &["--storage-format", "plain"];

const SETTINGS: [Setting; 4] = [
    Setting {
        name: "sealed records",
        first_flags: &[],
        flags: &[],
        is_cluster: false,
    },
    Setting {
        name: "plain records",
        first_flags: PLAIN,
        flags: PLAIN,
        is_cluster: false,
    },
    Setting {
        name: "from plain to sealed records, touch interval 60 s",
        first_flags: PLAIN,
        flags: &["--accept-plain", "true", "--session-touch-interval", "60"],
        is_cluster: false,
    },
    Setting {
        name: "sealed records in a cluster",
        first_flags: &[],
        flags: &[],
        is_cluster: true,
    },
];

/// Binary that an instance runs: the old one or the new one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Old,
    New,
}

/// Binaries of the two instances in each step of an upgrade, a rollback and a second upgrade. Each
/// step replaces one instance.
const FLEETS: [[Version; 2]; 7] = {
    use Version::{New, Old};
    [
        [Old, Old],
        [New, Old],
        [New, New],
        [Old, New],
        [Old, Old],
        [Old, New],
        [New, New],
    ]
};

/// Defines the subcommand `upgrade`.
pub(crate) fn command() -> Command {
    let file = |name: &'static str, help| {
        let argument = Arg::new(name).long(name).required(true);
        argument.value_parser(value_parser!(PathBuf)).help(help)
    };
    Command::new("upgrade")
        .about("Runs a rolling upgrade and rollback; exit code 1 if a request failed")
        .arg(file(
            "old",
            "Old binary: upgraded, and restored by the rollback",
        ))
        .arg(file("binary", "New binary, which replaces the old one"))
        .arg(file("report", "Markdown file that receives the table").required(false))
        .arg(
            Arg::new("short")
                .long("short")
                .action(ArgAction::SetTrue)
                .help("Run each fleet for 1.5 seconds instead of 5"),
        )
}

/// Runs the upgrade test in every configuration. Returns `true` if no expectation was violated.
pub(crate) async fn run(arguments: &ArgMatches) -> anyhow::Result<bool> {
    let lab = |name| Lab::of(arguments, name, arguments.get_flag("short"));
    let (old, new) = (lab("old")?, lab("binary")?);
    if std::fs::read(&old.binary)? == std::fs::read(&new.binary)? {
        bail!("both binaries are identical, so that an upgrade between them proves nothing");
    }
    let mut table = "| sessions | fleet | requests | responses | slowest response | violations |\n\
                     |---|---|--:|---|--:|---|\n"
        .to_owned();
    let mut passed = true;
    for setting in &SETTINGS {
        say(&format!("\n{}", setting.name));
        let rows = run_fleets(setting, &old, &new).await?;
        for (fleet, tally) in rows {
            passed &= tally.violations.is_empty();
            let _ = writeln!(
                table,
                "| {} | {fleet} | {} | {} | {} ms | {} |",
                setting.name,
                tally.requests,
                tally.responses_text(),
                tally.slowest.as_millis(),
                tally.violations_text(),
            );
        }
    }
    say("\nsessions that the old binary cannot read");
    let violations = odd_sessions::violations(&old, &new).await?;
    for violation in &violations {
        say(&format!("  violation: {violation}"));
    }
    passed &= violations.is_empty();
    say("\nsessions with the cookie jar of a site");
    let violations = jars::violations(&old, &new).await?;
    for violation in &violations {
        say(&format!("  violation: {violation}"));
    }
    passed &= violations.is_empty();
    say(&format!("\n{table}"));
    if let Some(file) = arguments.get_one::<PathBuf>("report") {
        report::put(file, "upgrade", &table)?;
    }
    Ok(passed)
}

/// The Redis server or Redis Cluster of one configuration. Dropping this value stops Redis.
enum Store {
    One(Box<RedisProcess>),
    Cluster(RedisCluster),
}

impl Store {
    async fn start(setting: &Setting) -> Self {
        if setting.is_cluster {
            Self::Cluster(RedisCluster::start(3, 0).await)
        } else {
            Self::One(Box::new(RedisProcess::start().await))
        }
    }

    fn url(&self) -> String {
        match self {
            Self::One(redis) => redis.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }
}

/// Two service instances, and the clients that send requests to both instances.
struct Fleet<'a> {
    labs: [&'a Lab; 2],
    flags: &'static [&'static str],
    url: String,
    versions: [Version; 2],
    instances: [ServiceProcess; 2],
    load: Load,
}

/// Runs all steps of the upgrade in the configuration `setting`. Returns the name of each step, and
/// the counts of responses and violated expectations in that step.
async fn run_fleets(
    setting: &Setting,
    old: &Lab,
    new: &Lab,
) -> anyhow::Result<Vec<(String, Tally)>> {
    let store = Store::start(setting).await;
    let mut fleet = Fleet::start([old, new], setting.first_flags, store.url()).await;
    let mut rows = Vec::new();
    for versions in FLEETS {
        fleet.change_versions(versions).await;
        sleep(old.hold).await;
        let shared = fleet.load.shared();
        shared.check_all_paused().await;
        let mut tally = shared.take_tally();
        if tally.last_failure.is_some() {
            tally.add_violation("a request failed");
        }
        if tally.requests < 20 {
            tally.add_violation("there were fewer than 20 requests");
        }
        let name = fleet.name();
        say(&format!(
            "  {name:<10} {:>6} requests  slowest {:>4} ms  violations {}",
            tally.requests,
            tally.slowest.as_millis(),
            tally.violations_text()
        ));
        rows.push((name, tally));
        fleet.change_flags(setting.flags).await;
    }
    let (_, last) = rows.last_mut().context("no fleet")?;
    last.add(&fleet.end().await);
    Ok(rows)
}

impl<'a> Fleet<'a> {
    /// Starts the two instances of the first step, and the clients.
    async fn start(labs: [&'a Lab; 2], flags: &'static [&'static str], url: String) -> Self {
        let [versions, ..] = FLEETS;
        let instances = [
            start(labs, versions[0], &url, flags).await,
            start(labs, versions[1], &url, flags).await,
        ];
        let bases = instances
            .each_ref()
            .map(|instance| instance.base().to_owned());
        let habits = Habits {
            uses_idempotency_keys: false,
            merges_cookies: false,
            ..Habits::default()
        };
        Self {
            labs,
            flags,
            url,
            versions,
            instances,
            load: Load::start_with(habits, CLIENTS, bases.to_vec()),
        }
    }

    /// Returns the name of the current step in the table: the binaries of both instances, such as
    /// `new, old`.
    fn name(&self) -> String {
        let names = self.versions.map(|version| match version {
            Version::Old => "old",
            Version::New => "new",
        });
        names.join(", ")
    }

    /// `versions` contains the wanted binary of each instance. Replaces each instance that runs
    /// another binary.
    async fn change_versions(&mut self, versions: [Version; 2]) {
        for (index, version) in versions.into_iter().enumerate() {
            if version != self.versions[index] {
                self.replace(index, version).await;
            }
        }
    }

    /// Replaces all instances by instances with the flags `flags`. Does nothing if all instances
    /// already have these flags.
    async fn change_flags(&mut self, flags: &'static [&'static str]) {
        if flags != self.flags {
            self.flags = flags;
            for (index, version) in self.versions.into_iter().enumerate() {
                self.replace(index, version).await;
            }
        }
    }

    /// Replaces the instance `index` by an instance that runs the binary `version`. The clients act
    /// like a load balancer. They stop sending requests to the old instance before the old instance
    /// is stopped. They send requests to the new instance when the new instance is ready.
    async fn replace(&mut self, index: usize, version: Version) {
        let other = self.instances[1 - index].base().to_owned();
        self.load.shared().send_only_to(vec![other]);
        // After the pause, no request to the old instance is in flight.
        drop(self.load.shared().pause().await);
        self.stop(index).await;
        self.instances[index] = start(self.labs, version, &self.url, self.flags).await;
        self.versions[index] = version;
        let bases = self.instances.each_ref();
        let bases = bases.map(|instance| instance.base().to_owned());
        self.load.shared().send_only_to(bases.to_vec());
    }

    /// Stops the instance `index`. Checks that the exit code is 0, and that the log contains no
    /// token, cookie or panic.
    async fn stop(&mut self, index: usize) {
        let instance = &mut self.instances[index];
        instance.signal(Signal::SIGTERM);
        let ended = instance.ended(STOPPED_WITHIN).await;
        let leaks = self.load.shared().leaks(&instance.output());
        let mut tally = self.load.shared().tally();
        if ended.code() != Some(0) {
            tally.add_violation("an instance did not exit with code 0");
        }
        for leak in leaks {
            tally.add_violation(leak);
        }
    }

    /// Stops the clients and then the instances. Returns the counts of responses and violated
    /// expectations since the last step.
    async fn end(mut self) -> Tally {
        self.load.stop().await;
        for index in 0..self.instances.len() {
            self.stop(index).await;
        }
        self.load.shared().take_tally()
    }
}

/// Starts an instance that runs the binary `version`, and waits until the instance is ready. `url`
/// is the URL of Redis.
async fn start(
    [old, new]: [&Lab; 2],
    version: Version,
    url: &str,
    flags: &[&str],
) -> ServiceProcess {
    let lab = match version {
        Version::Old => old,
        Version::New => new,
    };
    let instance = lab.start(url, flags).await;
    instance.until_ready(READY_WITHIN).await;
    instance
}
