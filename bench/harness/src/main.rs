//! Measures Tee Session and its peers side by side, and how its costs grow; draws the page and the
//! charts.

mod charts;
mod http;
mod machine;
mod near_cache;
mod outage;
mod progress;
mod redis_server;
mod report;
mod results;
mod running;
mod scale;
mod servers;
mod side_by_side;
mod starting;
mod statistics;
mod store;
mod targets;
mod usage;
mod wrk;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::{progress::say, results::Results, servers::Builds};

const DESCRIPTION: &str = "Measures Tee Session and its peers side by side, and how its costs grow";

fn command() -> Command {
    let report = Arg::new("report")
        .long("report")
        .value_name("DIR")
        .default_value("docs/performance")
        .value_parser(value_parser!(PathBuf))
        .help("Folder for the page, the charts and the raw results");
    let service = Arg::new("service")
        .long("service")
        .value_name("FILE")
        .default_value("target/release/tee-session")
        .value_parser(value_parser!(PathBuf))
        .help("The built tee-session");
    let old_service = Arg::new("old-service")
        .long("old-service")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The tee-session of commit 9cb3a1f, from scripts/old-binary [default: its rows are left out]");
    let quick = Arg::new("quick")
        .long("quick")
        .action(ArgAction::SetTrue)
        .help("One short round: whether all of it works, and about where the figures lie");
    Command::new("bench")
        .about(DESCRIPTION)
        .long_about(format!("{DESCRIPTION}. scripts/bench builds what it takes and runs this."))
        .subcommand_required(true)
        .subcommand(
            Command::new("run")
                .about("All servers in turn, round after round; exit code 1 if a request failed")
                .args([&report, &service, &old_service, &quick])
                .arg(
                    Arg::new("rounds")
                        .long("rounds")
                        .value_name("N")
                        .default_value("3")
                        .value_parser(value_parser!(u64).range(1..))
                        .help("Rounds; a table shows the median, the least and the most"),
                )
                .arg(
                    Arg::new("sessions")
                        .long("sessions")
                        .value_name("N")
                        .value_parser(value_parser!(u64).range(1..))
                        .help("Sessions in each store [default: 100000, quick: 20000]"),
                )
                .arg(
                    Arg::new("only")
                        .long("only")
                        .value_name("TEXT")
                        .action(ArgAction::Append)
                        .help("Only servers with this text in their names; may be given several times"),
                ),
        )
        .subcommand(
            Command::new("scale")
                .about("Costs by number of sessions, connections and writes; exit code 1 if a request failed")
                .args([&report, &service, &quick]),
        )
        .subcommand(
            Command::new("outage")
                .about("Holds Redis up under load, and draws what /metrics tells meanwhile")
                .arg(
                    report
                        .clone()
                        .default_value("docs/pictures")
                        .help("Folder for the picture and what was scraped"),
                )
                .args([&service, &quick])
                .arg(
                    Arg::new("redraw")
                        .long("redraw")
                        .action(ArgAction::SetTrue)
                        .help("Draws what was scraped last time, without running anything"),
                ),
        )
        .subcommand(
            Command::new("report")
                .about("Draws the page and the charts anew from the raw results, without measuring")
                .arg(&report),
        )
}

fn main() -> anyhow::Result<ExitCode> {
    let matches = command().get_matches();
    // Ten thousand connections are a part of it, and the servers inherit this.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let failed = runtime.block_on(async {
        tokio::select! {
            failed = run(&matches) => failed,
            // What was started ends with it.
            () = interrupted() => bail!("interrupted"),
        }
    })?;
    if failed > 0 {
        say(&format!(
            "{failed} requests FAILED: the figures do not count"
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives the number of requests that failed.
async fn run(matches: &ArgMatches) -> anyhow::Result<u64> {
    let (name, arguments) = matches.subcommand().context("nothing to do")?;
    let folder = arguments
        .get_one::<PathBuf>("report")
        .context("no folder")?;
    if name == "outage" {
        outage(arguments, folder).await?;
        return Ok(0);
    }
    let mut results = Results::load(folder)?;
    let failed = match name {
        "run" => {
            let measured = side_by_side(arguments).await?;
            results.side_by_side.insert(measured).failed()
        }
        "scale" => {
            let measured = scale(arguments).await?;
            results.scale.insert(measured).failed()
        }
        _ => 0,
    };
    if name != "report" {
        results.save(folder)?;
    }
    report::write(&results, folder)?;
    say_targets(&results);
    say(&format!("see {}/README.md", folder.display()));
    Ok(failed)
}

async fn outage(arguments: &ArgMatches, folder: &Path) -> anyhow::Result<()> {
    let recording = if arguments.get_flag("redraw") {
        outage::Recording::load(folder)?
    } else {
        let service = arguments
            .get_one::<PathBuf>("service")
            .context("no binary")?;
        let plan = if arguments.get_flag("quick") {
            outage::Plan::QUICK
        } else {
            outage::Plan::FULL
        };
        let work = tempfile::tempdir()?;
        let recording = outage::run(plan, service, work.path()).await?;
        recording.save(folder)?;
        recording
    };
    charts::draw_outage(&recording, folder)?;
    say(&format!("see {}/outage.svg", folder.display()));
    Ok(())
}

/// Those that are not met, for whoever watches.
fn say_targets(results: &Results) {
    for target in targets::all(results) {
        if let (Some(false), Some(measured)) = (target.is_met(), target.measured) {
            say(&format!(
                "NOT MET: {}: {}",
                target.what,
                measured.in_words(target.digits)
            ));
        }
    }
}

async fn side_by_side(arguments: &ArgMatches) -> anyhow::Result<results::SideBySide> {
    let number = |name| {
        arguments
            .get_one::<u64>(name)
            .copied()
            .map(usize::try_from)
            .transpose()
    };
    let only = arguments.get_many::<String>("only").into_iter().flatten();
    let only = only.cloned().collect();
    let plan = if arguments.get_flag("quick") {
        side_by_side::Plan::quick(number("sessions")?.unwrap_or(20_000), only)
    } else {
        let rounds = number("rounds")?.context("no rounds")?;
        side_by_side::Plan::full(rounds, number("sessions")?.unwrap_or(100_000), only)
    };
    let folder = tempfile::tempdir()?;
    side_by_side::run(&plan, &builds(arguments)?, folder.path()).await
}

async fn scale(arguments: &ArgMatches) -> anyhow::Result<scale::Scale> {
    let is_quick = arguments.get_flag("quick");
    let plan = if is_quick {
        scale::Plan::quick()
    } else {
        scale::Plan::full()
    };
    let folder = tempfile::tempdir()?;
    scale::run(&plan, &builds(arguments)?, folder.path()).await
}

fn builds(arguments: &ArgMatches) -> anyhow::Result<Builds> {
    let service = arguments
        .get_one::<PathBuf>("service")
        .context("no binary")?;
    let own = env::current_exe()?;
    let old_service = arguments.try_get_one::<PathBuf>("old-service");
    let builds = Builds {
        service: service.clone(),
        // Only `run` has the option.
        old_service: old_service.ok().flatten().cloned(),
        peers: own.parent().map(Path::to_owned).context("no folder")?,
    };
    builds.check()?;
    Ok(builds)
}

async fn interrupted() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
