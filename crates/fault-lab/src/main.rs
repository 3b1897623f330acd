//! Fault lab: injects faults into running tee-session instances while clients send requests, and
//! checks each response.
//!
//! Subcommands:
//!
//! - `matrix` runs all fault scenarios.
//! - `soak` injects a random fault every few seconds.
//! - `attacks` measures how other clients are served during attacks.
//! - `upgrade` tests a rolling upgrade from an old binary to a new binary, and the rollback.
//! - `record` writes the Redis records of a binary to a test fixture.
//! - `compose` restarts the containers of a Docker Compose project.

mod attacks;
mod compose;
mod load;
mod machine_delay;
mod matrix;
mod progress;
mod report;
mod site;
mod soak;
mod stage;
mod tally;
mod upgrade;

use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::{progress::say, stage::Lab};

fn command() -> Command {
    let binary = Arg::new("binary")
        .long("binary")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("The built tee-session binary");
    let report = Arg::new("report")
        .long("report")
        .value_parser(value_parser!(PathBuf))
        .help("Markdown file that receives the table");
    Command::new("tee-session-fault-lab")
        .about("Injects faults while clients use the built binary, and checks each response")
        .subcommand_required(true)
        .subcommand(
            Command::new("matrix")
                .about("Runs all faults; exit code 1 if there was a violation")
                .args([&binary, &report])
                .arg(Arg::new("short").long("short").action(ArgAction::SetTrue).help("Keep each fault active for 1.5 seconds instead of 5, and send fewer requests"))
                .arg(Arg::new("jobs").long("jobs").default_value("1").value_parser(value_parser!(NonZeroUsize)).help("Number of faults that run at the same time"))
                .arg(Arg::new("only").long("only").help("Run only faults and sections whose names contain this text")),
        )
        .subcommand(
            Command::new("soak")
                .about("Runs mixed load with a random fault every few seconds; exit code 1 if there was a violation")
                .args([&binary, &report])
                .arg(Arg::new("minutes").long("minutes").default_value("30").value_parser(value_parser!(u64)).help("Duration in minutes"))
                .arg(Arg::new("short").long("short").action(ArgAction::SetTrue).conflicts_with("minutes").help("Run for 45 seconds")),
        )
        .subcommand(
            Command::new("attacks")
                .about("Attacks the service, and measures how other clients are served; exit code 1 if an attack affected them")
                .args([&binary, &report])
                .arg(Arg::new("seconds").long("seconds").default_value("20").value_parser(value_parser!(u64)).help("Duration of each attack in seconds"))
                .arg(Arg::new("connections").long("connections").default_value("5000").value_parser(value_parser!(usize)).help("Number of connections of each attack")),
        )
        .subcommand(compose::command())
        .subcommand(upgrade::command())
        .subcommand(upgrade::record::command())
}

fn main() -> anyhow::Result<ExitCode> {
    let matches = command().get_matches();
    // One fault scenario opens 10 000 connections, each of which needs a file descriptor.
    let (_, hard_limit) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard_limit, hard_limit)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let passed = runtime.block_on(async {
        tokio::select! {
            passed = run(&matches) => passed,
            // When a signal arrives, the future of `run` is dropped. This stops all servers and
            // clients that `run` started.
            () = interrupted() => bail!("interrupted"),
        }
    })?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the selected subcommand. Returns `true` if no expectation was violated.
async fn run(matches: &ArgMatches) -> anyhow::Result<bool> {
    match matches.subcommand() {
        Some(("soak", arguments)) => soak(arguments).await,
        Some(("attacks", arguments)) => attacks(arguments).await,
        Some(("compose", arguments)) => compose::run(arguments).await,
        Some(("upgrade", arguments)) => upgrade::run(arguments).await,
        Some(("record", arguments)) => upgrade::record::run(arguments).await,
        Some((_, arguments)) => matrix(arguments).await,
        None => bail!("no subcommand: see --help"),
    }
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

/// Runs the fault scenarios that the option `--only` selects. Without this option, runs all
/// scenarios. Returns `true` if at least one scenario ran and no expectation was violated.
async fn matrix(arguments: &ArgMatches) -> anyhow::Result<bool> {
    let lab = Lab::of(arguments, "binary", arguments.get_flag("short"))?;
    let jobs = arguments.get_one::<NonZeroUsize>("jobs");
    let jobs = jobs.map_or(1, |jobs| jobs.get());
    let only = arguments
        .get_one::<String>("only")
        .map(String::as_str)
        .unwrap_or_default();
    if !only.is_empty() && arguments.contains_id("report") {
        bail!(
            "--only runs only a part of the matrix, which must not replace the whole table: omit --only or --report"
        );
    }
    let sections = matrix::sections();
    let mut results = matrix::run_all(&sections, only, jobs, &lab).await;
    if lab.is_short {
        matrix::repeat_timed(&mut results, &lab).await;
    }
    if let Some(file) = arguments.get_one::<PathBuf>("report") {
        report::put(file, "matrix", &report::matrix(&results))?;
    }
    let rows: Vec<_> = results.iter().flat_map(|(_, rows)| rows).collect();
    let has_violations = |row: &&&matrix::Result<'_>| !row.outcome.tally.violations.is_empty();
    let violated: Vec<_> = rows.iter().filter(has_violations).collect();
    say(&format!(
        "\n{} faults, {} with violations",
        rows.len(),
        violated.len()
    ));
    for row in &violated {
        let violations = row.outcome.tally.violations_text();
        let responses = row.outcome.tally.responses_text();
        say(&format!(
            "{}: {violations} (responses: {responses})",
            row.row.fault
        ));
    }
    Ok(violated.is_empty() && !rows.is_empty())
}

/// Runs the soak test for the duration `--minutes`, or for 45 seconds with `--short`. Returns `true`
/// if no expectation was violated.
async fn soak(arguments: &ArgMatches) -> anyhow::Result<bool> {
    let lab = Lab::of(arguments, "binary", false)?;
    let minutes = arguments.get_one::<u64>("minutes").copied().unwrap_or(30);
    let seconds = if arguments.get_flag("short") {
        45
    } else {
        minutes * 60
    };
    let (table, passed) = soak::run(&lab, Duration::from_secs(seconds)).await?;
    say(&format!("\n{table}"));
    if let Some(file) = arguments.get_one::<PathBuf>("report") {
        report::put(file, "soak", &table)?;
    }
    Ok(passed)
}

/// Runs all attacks. Returns `true` if the other clients were served as expected.
async fn attacks(arguments: &ArgMatches) -> anyhow::Result<bool> {
    let lab = Lab::of(arguments, "binary", false)?;
    let seconds = arguments.get_one::<u64>("seconds").copied().unwrap_or(20);
    let connections = arguments.get_one::<usize>("connections").copied();
    let (table, passed) = attacks::run(
        &lab,
        Duration::from_secs(seconds),
        connections.unwrap_or(5_000),
    )
    .await?;
    say(&format!("\n{table}"));
    if let Some(file) = arguments.get_one::<PathBuf>("report") {
        report::put(file, "attacks", &table)?;
    }
    Ok(passed)
}
