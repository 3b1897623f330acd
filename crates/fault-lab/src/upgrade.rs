//! Rolling upgrade and rollback between two binaries, under load: one instance after the other is
//! replaced, and no client may notice.

pub(crate) mod record;

use std::{fmt::Write, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use nix::sys::signal::Signal;
use tee_session_test_support::{RedisCluster, RedisProcess, ServiceProcess};
use tokio::time::sleep;

use crate::{
    load::Load,
    progress::say,
    report,
    stage::{CLIENTS, Lab, READY_WITHIN, STOPPED_WITHIN},
    tally::Tally,
};

/// In-flight requests of an instance that is no longer asked have been answered after this time.
const DRAINED_AFTER: Duration = Duration::from_millis(1_500);

/// A session store, and the settings of every instance that uses it.
struct Setting {
    name: &'static str,
    /// Those of the first fleet, whose sessions the others take over.
    first_flags: &'static [&'static str],
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Old,
    New,
}

/// The fleets of an upgrade, a rollback and a second upgrade. Neighbours differ in one instance.
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

pub(crate) fn command() -> Command {
    let file = |name: &'static str, help| {
        let argument = Arg::new(name).long(name).required(true);
        argument.value_parser(value_parser!(PathBuf)).help(help)
    };
    Command::new("upgrade")
        .about("Rolling upgrade and rollback between two binaries; exit code 1 if a client noticed")
        .arg(file(
            "old",
            "The binary that is upgraded, and rolled back to",
        ))
        .arg(file("binary", "The binary that it is upgraded to"))
        .arg(file("report", "Markdown file to put the table into").required(false))
        .arg(
            Arg::new("short")
                .long("short")
                .action(ArgAction::SetTrue)
                .help("Each fleet for 1.5 seconds, not 5"),
        )
}

/// Runs every setting; `false` if anything was violated.
pub(crate) async fn run(arguments: &ArgMatches) -> anyhow::Result<bool> {
    let lab = |name| Lab::of(arguments, name, arguments.get_flag("short"));
    let (old, new) = (lab("old")?, lab("binary")?);
    if std::fs::read(&old.binary)? == std::fs::read(&new.binary)? {
        bail!("both binaries are the same: an upgrade between them shows nothing");
    }
    let mut table = "| sessions | fleet | requests | answers | worst | violations |\n\
                     |---|---|--:|---|--:|---|\n"
        .to_owned();
    let mut held = true;
    for setting in &SETTINGS {
        say(&format!("\n{}", setting.name));
        let rows = roll(setting, &old, &new).await?;
        for (fleet, tally) in rows {
            held &= tally.violations.is_empty();
            let _ = writeln!(
                table,
                "| {} | {fleet} | {} | {} | {} ms | {} |",
                setting.name,
                tally.requests,
                tally.answers_in_words(),
                tally.slowest.as_millis(),
                tally.violations_in_words(),
            );
        }
    }
    say(&format!("\n{table}"));
    if let Some(file) = arguments.get_one::<PathBuf>("report") {
        report::put(file, "upgrade", &table)?;
    }
    Ok(held)
}

/// The Redis of a setting. It ends with the value.
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

/// Instances under load, some of which are replaced.
struct Fleet<'a> {
    labs: [&'a Lab; 2],
    flags: &'static [&'static str],
    url: String,
    versions: [Version; 2],
    instances: [ServiceProcess; 2],
    load: Load,
}

/// Goes through all fleets; what came of each.
async fn roll(setting: &Setting, old: &Lab, new: &Lab) -> anyhow::Result<Vec<(String, Tally)>> {
    let store = Store::start(setting).await;
    let mut fleet = Fleet::start([old, new], setting.first_flags, store.url()).await;
    let mut rows = Vec::new();
    for versions in FLEETS {
        fleet.become_of(versions).await;
        sleep(old.hold).await;
        let shared = fleet.load.shared();
        shared.check_all_at_rest().await;
        let mut tally = shared.take_tally();
        if tally.last_failure.is_some() {
            tally.violated("it was noticed");
        }
        if tally.requests < 20 {
            tally.violated("there was no load");
        }
        let name = fleet.name();
        say(&format!(
            "  {name:<10} {:>6} requests  worst {:>4} ms  violations {}",
            tally.requests,
            tally.slowest.as_millis(),
            tally.violations_in_words()
        ));
        rows.push((name, tally));
        fleet.change_flags(setting.flags).await;
    }
    let (_, last) = rows.last_mut().context("no fleet")?;
    last.add(&fleet.end().await);
    Ok(rows)
}

impl<'a> Fleet<'a> {
    /// Starts the first fleet.
    async fn start(labs: [&'a Lab; 2], flags: &'static [&'static str], url: String) -> Self {
        let [versions, ..] = FLEETS;
        let instances = [
            start(labs, versions[0], &url, flags).await,
            start(labs, versions[1], &url, flags).await,
        ];
        let bases = instances
            .each_ref()
            .map(|instance| instance.base().to_owned());
        Self {
            labs,
            flags,
            url,
            versions,
            instances,
            load: Load::start(CLIENTS, bases.to_vec()),
        }
    }

    fn name(&self) -> String {
        let names = self.versions.map(|version| match version {
            Version::Old => "old",
            Version::New => "new",
        });
        names.join(", ")
    }

    /// Replaces the instances whose version differs.
    async fn become_of(&mut self, versions: [Version; 2]) {
        for (place, version) in versions.into_iter().enumerate() {
            if version != self.versions[place] {
                self.replace(place, version).await;
            }
        }
    }

    /// Replaces every instance by one with these flags, if it has others.
    async fn change_flags(&mut self, flags: &'static [&'static str]) {
        if flags != self.flags {
            self.flags = flags;
            for (place, version) in self.versions.into_iter().enumerate() {
                self.replace(place, version).await;
            }
        }
    }

    /// Replaces an instance as behind a load balancer: it gets no more requests before it is stopped,
    /// and its successor gets none before it is ready.
    async fn replace(&mut self, place: usize, version: Version) {
        let other = self.instances[1 - place].base().to_owned();
        self.load.shared().ask_only(vec![other]);
        sleep(DRAINED_AFTER).await;
        self.stop(place).await;
        self.instances[place] = start(self.labs, version, &self.url, self.flags).await;
        self.versions[place] = version;
        let bases = self.instances.each_ref();
        let bases = bases.map(|instance| instance.base().to_owned());
        self.load.shared().ask_only(bases.to_vec());
    }

    /// Stops an instance, and looks through its log.
    async fn stop(&mut self, place: usize) {
        let instance = &mut self.instances[place];
        instance.signal(Signal::SIGTERM);
        let ended = instance.ended(STOPPED_WITHIN).await;
        let leaks = self.load.shared().leaks(&instance.output());
        let mut tally = self.load.shared().tally();
        if ended.code() != Some(0) {
            tally.violated("an instance did not stop cleanly");
        }
        for leak in leaks {
            tally.violated(leak);
        }
    }

    /// Stops clients and instances; what was found on the way.
    async fn end(mut self) -> Tally {
        self.load.stop().await;
        for place in 0..self.instances.len() {
            self.stop(place).await;
        }
        self.load.shared().take_tally()
    }
}

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
