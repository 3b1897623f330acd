//! Hurts the built binary in every way that it must bear, and checks each answer: the matrix of
//! faults one by one, a soak with a random fault every few seconds, a rolling upgrade and rollback, or
//! restarts within the compose file that operators are given.

mod compose;
mod load;
mod matrix;
mod progress;
mod report;
mod soak;
mod stage;
mod tally;
mod upgrade;

use std::{path::PathBuf, process::ExitCode, time::Duration};

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
        .help("The built tee-session");
    let report = Arg::new("report")
        .long("report")
        .value_parser(value_parser!(PathBuf))
        .help("Markdown file to put the table into");
    Command::new("tee-session-fault-lab")
        .about("Hurts the built binary in every way that it must bear, and checks each answer")
        .subcommand_required(true)
        .subcommand(
            Command::new("matrix")
                .about("Every fault, one after the other; exit code 1 if anything was violated")
                .args([&binary, &report])
                .arg(Arg::new("short").long("short").action(ArgAction::SetTrue).help("Each fault for 1.5 seconds, not 5"))
                .arg(Arg::new("only").long("only").help("Only the faults, or sections, with this text in their names")),
        )
        .subcommand(
            Command::new("soak")
                .about("Mixed load, and a random fault every few seconds; exit code 1 if anything was violated")
                .args([&binary, &report])
                .arg(Arg::new("minutes").long("minutes").default_value("30").value_parser(value_parser!(u64)).help("For how long")),
        )
        .subcommand(compose::command())
        .subcommand(upgrade::command())
        .subcommand(upgrade::record::command())
}

fn main() -> anyhow::Result<ExitCode> {
    let matches = command().get_matches();
    // Ten thousand connections are one row of the matrix.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let held = runtime.block_on(async {
        tokio::select! {
            held = run(&matches) => held,
            // What was started ends with it.
            () = interrupted() => bail!("interrupted"),
        }
    })?;
    Ok(if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn run(matches: &ArgMatches) -> anyhow::Result<bool> {
    match matches.subcommand() {
        Some(("soak", arguments)) => soak(arguments).await,
        Some(("compose", arguments)) => compose::run(arguments).await,
        Some(("upgrade", arguments)) => upgrade::run(arguments).await,
        Some(("record", arguments)) => upgrade::record::run(arguments).await,
        Some((_, arguments)) => matrix(arguments).await,
        None => bail!("nothing to do"),
    }
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

async fn matrix(arguments: &ArgMatches) -> anyhow::Result<bool> {
    let lab = Lab::of(arguments, "binary", arguments.get_flag("short"))?;
    let only = arguments
        .get_one::<String>("only")
        .map(String::as_str)
        .unwrap_or_default();
    if !only.is_empty() && arguments.contains_id("report") {
        bail!(
            "a part of the matrix would take the place of the whole: leave out --only or --report"
        );
    }
    let mut results = Vec::new();
    for section in matrix::sections() {
        let is_wanted = |fault: &str| section.name.contains(only) || fault.contains(only);
        let rows: Vec<_> = section
            .rows
            .iter()
            .filter(|row| is_wanted(row.fault))
            .collect();
        if rows.is_empty() {
            continue;
        }
        say(&format!("\n{}", section.name));
        let mut of_section = Vec::new();
        for row in rows {
            of_section.push(matrix::run(row, &lab).await);
        }
        results.push((section.name, of_section));
    }
    if let Some(file) = arguments.get_one::<PathBuf>("report") {
        report::put(file, "matrix", &report::matrix(&results))?;
    }
    let rows: Vec<_> = results.iter().flat_map(|(_, rows)| rows).collect();
    let violated = rows
        .iter()
        .filter(|row| !row.outcome.tally.violations.is_empty());
    let violated = violated.count();
    say(&format!(
        "\n{} faults, {violated} with violations",
        rows.len()
    ));
    Ok(violated == 0 && !rows.is_empty())
}

async fn soak(arguments: &ArgMatches) -> anyhow::Result<bool> {
    let lab = Lab::of(arguments, "binary", false)?;
    let minutes = arguments.get_one::<u64>("minutes").copied().unwrap_or(30);
    let (table, held) = soak::run(&lab, Duration::from_secs(minutes * 60)).await?;
    say(&format!("\n{table}"));
    if let Some(file) = arguments.get_one::<PathBuf>("report") {
        report::put(file, "soak", &table)?;
    }
    Ok(held)
}
