//! Counts what the service allocates for a request, and holds it to the record.

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

const COMMENT: &str = "Allocations and bytes of one GET /v1/session in the whole process of the \
     service,\nas `bench/micro/run counts --record` counted them.";

const HOW_TO_RECORD: &str = "bench/micro/run counts --record";

fn command() -> Command {
    let sites = Arg::new("sites")
        .long("sites")
        .action(ArgAction::SetTrue)
        .help("Tell where allocations come from instead, line by line");
    Command::new("allocations")
        .about("Counts what the service allocates for a request, and holds it to the record")
        .args_conflicts_with_subcommands(true)
        .arg(
            Arg::new("record")
                .long("record")
                .action(ArgAction::SetTrue)
                .conflicts_with("sites")
                .help("Take the numbers as the new record"),
        )
        .arg(sites.clone())
        .subcommand(
            Command::new("measure")
                .about("One scenario in this process; standard output is the service's log")
                .hide(true)
                .arg(Arg::new("scenario").required(true))
                .arg(sites),
        )
}

fn main() -> anyhow::Result<ExitCode> {
    let matches = command().get_matches();
    if let Some(("measure", measure)) = matches.subcommand() {
        let name: &String = measure.get_one("scenario").context("clap requires it")?;
        let scenario = Scenario::named(name).context("there is no such scenario")?;
        measure_here(scenario, measure.get_flag("sites"))?;
        return Ok(ExitCode::SUCCESS);
    }
    if matches.get_flag("sites") {
        for scenario in SCENARIOS {
            println!("{}", measure_apart(scenario, true)?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (mut calls, mut bytes) = (BTreeMap::new(), BTreeMap::new());
    for scenario in SCENARIOS {
        eprintln!("allocations: {}", scenario.name);
        let told = measure_apart(scenario, false)?;
        let mut numbers = told.split_whitespace().map(str::parse);
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
    Ok(if verdict.holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// In a process of its own, where nothing is left of another scenario; gives back what it tells.
fn measure_apart(scenario: Scenario, sites: bool) -> anyhow::Result<String> {
    let output = Process::new(env::current_exe()?)
        .args(["measure", scenario.name])
        .args(sites.then_some("--sites"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let told = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{}: {told}", scenario.name);
    Ok(told)
}

/// Tells on standard error: the log has the other.
fn measure_here(scenario: Scenario, sites: bool) -> anyhow::Result<()> {
    if sites {
        let (found, requests) = scenario.sites()?;
        eprint!("{}", table(scenario, &found, requests));
    } else {
        let allocated = scenario.count()?;
        let a_request = |count| count as f64 / f64::from(COUNTED_REQUESTS);
        eprintln!(
            "{} {}",
            a_request(allocated.calls),
            a_request(allocated.bytes)
        );
    }
    Ok(())
}

/// By line of this project, the most frequent first.
fn table(scenario: Scenario, found: &[(CallPath, Cost)], requests: u32) -> String {
    let a_request = |count| count as f64 / f64::from(requests);
    let mut by_line = BTreeMap::<&str, (u64, Vec<String>)>::new();
    for (path, Cost { calls, bytes }) in found {
        // What happens by itself now and then.
        if a_request(*calls) < 0.05 {
            continue;
        }
        let line = path
            .our_line()
            .unwrap_or("no line of ours: tasks of libraries");
        let (sum, rows) = by_line.entry(line).or_default();
        *sum += calls;
        rows.push(format!(
            "    {:>6.2} {:>9.1}  {path}\n",
            a_request(*calls),
            a_request(*bytes)
        ));
    }
    let mut lines: Vec<_> = by_line.into_iter().collect();
    lines.sort_by_key(|(_, (sum, _))| std::cmp::Reverse(*sum));
    let all: u64 = found.iter().map(|(_, cost)| cost.calls).sum();
    let mut text = format!(
        "{}: {:.2} allocations a request (allocations, bytes, from where to where)\n",
        scenario.name,
        a_request(all)
    );
    for (line, (sum, rows)) in lines {
        text.push_str(&format!("{:>6.2}  {line}\n", a_request(sum)));
        text.extend(rows);
    }
    text
}
