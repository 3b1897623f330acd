//! Test of a rolling upgrade and rollback while clients send requests. The upgrade replaces the
//! instances of an old binary by instances of a new binary, one at a time. The rollback does the
//! reverse. No request may fail. Some of the clients call a site through the upstream gateway. The
//! old binary has no gateway.
//!
//! After that, the test uses sessions that the old binary cannot read, and sessions whose cookies
//! have attributes, with both binaries.

mod fleet;
mod jars;
mod odd_sessions;
pub(crate) mod record;

use std::{fmt::Write, path::PathBuf};

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tee_session_test_support::{RedisCluster, RedisProcess};
use tokio::time::sleep;

use self::fleet::{Fleet, Version};
use crate::{progress::say, report, stage::Lab, tally::Tally};

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

/// Minimum number of requests in a step of the upgrade.
const MIN_REQUESTS: u64 = 20;

/// Minimum number of calls of the upstream gateway in one step, for each binary that runs in the
/// step. The number is low, because old instances get few calls in a short step on a busy machine.
const MIN_CALLS: u64 = 5;

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

/// Checks the responses to calls of the upstream gateway, and the number of calls for each binary
/// ([`MIN_CALLS`]). The site must have answered every call to an instance of the new binary.
/// Instances of the old binary have no gateway, and must have answered every call with 404.
fn check_calls(tally: &mut Tally, versions: [Version; 2]) {
    let mut calls = tally.responses.clone();
    calls.retain(|response, _| response.starts_with("upstream "));
    for (version, response) in [
        (Version::New, "upstream 200"),
        (Version::Old, "upstream 404 not_found"),
    ] {
        let count = calls.remove(response).unwrap_or(0);
        if versions.contains(&version) && count < MIN_CALLS {
            tally.add_violation(format!("fewer than 5 calls got the response {response}"));
        }
    }
    if !calls.is_empty() {
        tally.add_violation("a call failed");
    }
}

/// Runs all steps of the upgrade in the configuration `setting`. Returns the name of each step, and
/// the counts of responses and violated expectations in that step.
async fn run_fleets(
    setting: &Setting,
    old: &Lab,
    new: &Lab,
) -> anyhow::Result<Vec<(String, Tally)>> {
    let store = Store::start(setting).await;
    let mut fleet = Fleet::start([old, new], FLEETS[0], setting.first_flags, store.url()).await?;
    let mut rows = Vec::new();
    for versions in FLEETS {
        fleet.change_versions(versions).await;
        sleep(old.hold).await;
        let shared = fleet.shared();
        shared.check_all_paused().await;
        let mut tally = shared.take_tally();
        if tally.last_failure.is_some() {
            tally.add_violation("a request failed");
        }
        if tally.requests < MIN_REQUESTS {
            tally.add_violation("there were fewer than 20 requests");
        }
        check_calls(&mut tally, versions);
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
