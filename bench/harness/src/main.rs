//! Benchmark program. Compares Tee Session with similar servers, and measures how the costs of Tee
//! Session grow with the number of sessions, connections and writes. Writes the performance page
//! and its charts.

mod charts;
mod gateway;
mod http;
mod load;
mod machine;
mod near_cache;
mod outage;
mod progress;
mod redis_server;
mod report;
mod results;
mod running;
mod scale;
mod scale_run;
mod server_result;
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

const DESCRIPTION: &str =
    "Benchmarks Tee Session and comparable servers side by side, and measures how its costs grow";

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
        .help("The built tee-session binary");
    let old_service = Arg::new("old-service")
        .long("old-service")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The tee-session binary of commit 9cb3a1f, from scripts/old-binary [default: its rows are omitted]");
    let rounds = Arg::new("rounds")
        .long("rounds")
        .value_name("N")
        .default_value("3")
        .value_parser(value_parser!(u64).range(1..))
        .help("Number of rounds; tables show median, minimum and maximum");
    let quick = Arg::new("quick")
        .long("quick")
        .action(ArgAction::SetTrue)
        .help("Run one short round, for a functional check and approximate figures");
    Command::new("bench")
        .about(DESCRIPTION)
        .long_about(format!("{DESCRIPTION}. scripts/bench builds everything and runs this program."))
        .subcommand_required(true)
        .subcommand(
            Command::new("run")
                .about("Runs all servers in turn, in several rounds; exit code 1 if a request failed")
                .args([&report, &service, &old_service, &quick, &rounds])
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
                        .help("Run only servers whose names contain this text; repeatable"),
                ),
        )
        .subcommand(
            Command::new("scale")
                .about("Measures costs by number of sessions, connections and writes; exit code 1 if a request failed")
                .args([&report, &service, &quick]),
        )
        .subcommand(
            Command::new("gateway")
                .about("Compares the upstream gateway with other gateways; exit code 1 if a request failed")
                .args([&report, &service, &quick, &rounds]),
        )
        .subcommand(
            Command::new("outage")
                .about("Pauses Redis under load, and draws the metrics during the outage")
                .arg(
                    report
                        .clone()
                        .default_value("docs/pictures")
                        .help("Folder for the picture and the scraped metrics"),
                )
                .args([&service, &quick])
                .arg(
                    Arg::new("redraw")
                        .long("redraw")
                        .action(ArgAction::SetTrue)
                        .help("Draw the metrics of the last run again, without running anything"),
                ),
        )
        .subcommand(
            Command::new("report")
                .about("Writes the page and the charts again from the raw results, without measuring")
                .arg(&report),
        )
}

fn main() -> anyhow::Result<ExitCode> {
    let matches = command().get_matches();
    // One measurement opens 10 000 connections, each of which needs a file descriptor. The started
    // servers inherit the raised limit.
    let (_, hard_limit) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard_limit, hard_limit)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let failed = runtime.block_on(async {
        tokio::select! {
            failed = run(&matches) => failed,
            // When a signal arrives, the future of `run` is dropped. This stops all servers that
            // `run` started.
            () = interrupted() => bail!("interrupted"),
        }
    })?;
    if failed > 0 {
        say(&format!(
            "{failed} requests FAILED: the figures are not valid"
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the selected subcommand, and returns the number of failed requests. Subcommands that count
/// no failed requests return 0.
async fn run(matches: &ArgMatches) -> anyhow::Result<u64> {
    let (name, arguments) = matches.subcommand().context("no subcommand")?;
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
        "gateway" => {
            let measured = gateways(arguments).await?;
            results.gateways.insert(measured).failed()
        }
        _ => 0,
    };
    if name != "report" {
        results.save(folder)?;
    }
    report::write(&results, folder)?;
    print_missed_targets(&results);
    say(&format!("see {}/README.md", folder.display()));
    Ok(failed)
}

/// Pauses Redis under load and records the metrics of the service, or loads the last recording if
/// `--redraw` is set. Draws a chart of the recording in `folder`.
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

/// Prints each performance target that the results do not meet.
fn print_missed_targets(results: &Results) {
    let of_gateway = results.gateways.iter().flat_map(gateway::targets);
    for target in targets::all(results).into_iter().chain(of_gateway) {
        if let (Some(false), Some(measured)) = (target.is_met(), target.measured) {
            say(&format!(
                "NOT MET: {}: {}",
                target.what,
                measured.format(target.digits)
            ));
        }
    }
}

/// Runs the comparison of Tee Session with other servers.
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

/// Measures how the costs of Tee Session grow with the number of sessions, connections and writes.
async fn scale(arguments: &ArgMatches) -> anyhow::Result<scale::Scale> {
    let is_quick = arguments.get_flag("quick");
    let plan = if is_quick {
        scale_run::Plan::quick()
    } else {
        scale_run::Plan::full()
    };
    let folder = tempfile::tempdir()?;
    scale::run(&plan, &builds(arguments)?, folder.path()).await
}

/// Runs the comparison of gateways that pass requests on to a site.
async fn gateways(arguments: &ArgMatches) -> anyhow::Result<gateway::Gateways> {
    let plan = if arguments.get_flag("quick") {
        gateway::Plan::quick()
    } else {
        let rounds = arguments.get_one::<u64>("rounds").copied();
        gateway::Plan::full(rounds.context("no rounds")?.try_into()?)
    };
    let folder = tempfile::tempdir()?;
    gateway::run(&plan, &builds(arguments)?, folder.path()).await
}

/// Returns the paths of the binaries to measure. Fails if a binary does not exist.
fn builds(arguments: &ArgMatches) -> anyhow::Result<Builds> {
    let service = arguments
        .get_one::<PathBuf>("service")
        .context("no binary")?;
    let own = env::current_exe()?;
    let old_service = arguments.try_get_one::<PathBuf>("old-service");
    let builds = Builds {
        service: service.clone(),
        // The look-up fails for other subcommands, because only `run` has the option
        // `--old-service`.
        old_service: old_service.ok().flatten().cloned(),
        peers: own.parent().map(Path::to_owned).context("no folder")?,
    };
    builds.check()?;
    Ok(builds)
}

/// Waits until this process receives SIGTERM or SIGINT. Waits forever if the signal handlers cannot
/// be installed.
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
