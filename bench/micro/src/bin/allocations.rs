//! Counts the memory allocations of the service per request, and compares the counts with those
//! recorded in `allocations.toml`.

use std::{
    collections::BTreeMap,
    env,
    path::Path,
    process::{Command as Process, ExitCode, Stdio},
};

use anyhow::{Context, ensure};
use clap::{Arg, ArgAction, Command};
use tee_session_micro_bench::{
    allocation_sites::{CallPath, Cost},
    counting_allocator::CountingAllocator,
    record::{self, Series, Slack},
    served_requests::{COUNTED_REQUESTS, SCENARIOS, Scenario},
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/allocations.toml");

/// Comment at the start of the file `allocations.toml`.
const COMMENT: &str = "Allocations and bytes of one GET /v1/session in the whole process of the \
     service,\ncounted by `bench/micro/run counts --record`.";

const HOW_TO_RECORD: &str = "bench/micro/run counts --record";

fn command() -> Command {
    let sites = Arg::new("sites")
        .long("sites")
        .action(ArgAction::SetTrue)
        .help("Print the source lines of allocations instead");
    Command::new("allocations")
        .about("Counts the allocations of the service per request and compares them with the record")
        .args_conflicts_with_subcommands(true)
        .arg(
            Arg::new("record")
                .long("record")
                .action(ArgAction::SetTrue)
                .conflicts_with("sites")
                .help("Write the counts to the record"),
        )
        .arg(sites.clone())
        .subcommand(
            Command::new("measure")
                .about("Runs one scenario in this process; standard output receives the log of the service")
                .hide(true)
                .arg(Arg::new("scenario").required(true))
                .arg(sites),
        )
}

fn main() -> anyhow::Result<ExitCode> {
    let matches = command().get_matches();
    if let Some(("measure", measure)) = matches.subcommand() {
        let name: &String = measure.get_one("scenario").context("clap requires it")?;
        let scenario = Scenario::named(name).context("unknown scenario")?;
        measure_here(scenario, measure.get_flag("sites"))?;
        return Ok(ExitCode::SUCCESS);
    }
    if matches.get_flag("sites") {
        for scenario in SCENARIOS {
            println!("{}", measure_in_child(scenario, true)?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (mut calls, mut bytes) = (BTreeMap::new(), BTreeMap::new());
    for scenario in SCENARIOS {
        eprintln!("allocations: {}", scenario.name);
        let output = measure_in_child(scenario, false)?;
        let mut numbers = output.split_whitespace().map(str::parse);
        for values in [&mut calls, &mut bytes] {
            let number = numbers.next().context("a number is missing")??;
            values.insert(scenario.name.to_owned(), number);
        }
    }
    let series = [
        Series {
            unit: "allocations",
            slack: Slack::Absolute(2.0),
            values: calls,
        },
        Series {
            unit: "bytes",
            slack: Slack::Share(0.1),
            values: bytes,
        },
    ];
    let file = Path::new(RECORD);
    if matches.get_flag("record") {
        record::write(file, &series, COMMENT)?;
    }
    let verdict = record::check(file, &series, HOW_TO_RECORD)?;
    print!("{}", verdict.report);
    Ok(if verdict.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Measures `scenario` in a child process, so that the state of other scenarios has no effect.
/// Returns the standard error of the child process, which contains the counts, or the call paths if
/// `sites` is `true`.
fn measure_in_child(scenario: Scenario, sites: bool) -> anyhow::Result<String> {
    let output = Process::new(env::current_exe()?)
        .args(["measure", scenario.name])
        .args(sites.then_some("--sites"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let errors = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{}: {errors}", scenario.name);
    Ok(errors)
}

/// Measures `scenario` in this process. Prints the result to standard error, because the log of the
/// service uses standard output.
fn measure_here(scenario: Scenario, sites: bool) -> anyhow::Result<()> {
    if sites {
        let (sites, requests) = scenario.sites()?;
        eprint!("{}", table(scenario, &sites, requests));
    } else {
        let allocated = scenario.count()?;
        let per_request = |count| count as f64 / f64::from(COUNTED_REQUESTS);
        eprintln!(
            "{} {}",
            per_request(allocated.calls),
            per_request(allocated.bytes)
        );
    }
    Ok(())
}

/// Formats the allocations as text. The call paths are grouped by source line of this project, and
/// the line with the most allocations comes first.
fn table(scenario: Scenario, sites: &[(CallPath, Cost)], requests: u32) -> String {
    let per_request = |count| count as f64 / f64::from(requests);
    let mut by_line = BTreeMap::<&str, (u64, Vec<String>)>::new();
    for (path, Cost { calls, bytes }) in sites {
        // Skips rare allocations, which belong to background tasks.
        if per_request(*calls) < 0.05 {
            continue;
        }
        let line = path
            .our_line()
            .unwrap_or("no line of this project: tasks of libraries");
        let (sum, rows) = by_line.entry(line).or_default();
        *sum += calls;
        rows.push(format!(
            "    {:>6.2} {:>9.1}  {path}\n",
            per_request(*calls),
            per_request(*bytes)
        ));
    }
    let mut lines: Vec<_> = by_line.into_iter().collect();
    lines.sort_by_key(|(_, (sum, _))| std::cmp::Reverse(*sum));
    let all: u64 = sites.iter().map(|(_, cost)| cost.calls).sum();
    let mut text = format!(
        "{}: {:.2} allocations per request (columns: allocations, bytes, call path)\n",
        scenario.name,
        per_request(all)
    );
    for (line, (sum, rows)) in lines {
        text.push_str(&format!("{:>6.2}  {line}\n", per_request(sum)));
        text.extend(rows);
    }
    text
}
