//! Counts the instructions of each operation, and holds them to the record.

use std::{
    collections::BTreeMap,
    env,
    path::Path,
    process::{Command as Process, ExitCode},
};

use anyhow::{Context, ensure};
use clap::{Arg, ArgAction, Command, value_parser};
use mimalloc::MiMalloc;
use tee_session_micro_bench::{
    operations::{OPERATIONS, Operation, Repeat},
    record::{self, Series, Slack},
};

/// As in the service.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");

const COMMENT: &str = "Instructions of one operation of the hot path (x86-64), as \
     `bench/micro/run counts --record`\ncounted them with callgrind. Its processor has no \
     instructions for SHA-256, so that what hashes\n(sealed_place) counts for more than it costs.";

const HOW_TO_RECORD: &str = "bench/micro/run counts --record";

const REPETITIONS: u32 = 2_000;

/// Callgrind counts only within [`repeat`]: what comes before it, such as gathering entropy, costs
/// more than all that is measured, and never the same.
const COUNTED: &str = "--toggle-collect=instructions::repeat*";

fn command() -> Command {
    Command::new("instructions")
        .about("Counts the instructions of each operation, and holds them to the record")
        .args_conflicts_with_subcommands(true)
        .arg(
            Arg::new("record")
                .long("record")
                .action(ArgAction::SetTrue)
                .help("Take the numbers as the new record"),
        )
        .subcommand(
            Command::new("repeat")
                .about("Does one operation again and again: what is counted, or profiled")
                .arg(Arg::new("operation").required(true))
                .arg(
                    Arg::new("times")
                        .required(true)
                        .value_parser(value_parser!(u32)),
                ),
        )
}

fn main() -> anyhow::Result<ExitCode> {
    let matches = command().get_matches();
    if let Some(("repeat", wanted)) = matches.subcommand() {
        let name: &String = wanted.get_one("operation").context("clap requires it")?;
        let times: u32 = *wanted.get_one("times").context("clap requires it")?;
        let operation = Operation::named(name).context("there is no such operation")?;
        repeat(&mut operation.prepared()?, times);
        return Ok(ExitCode::SUCCESS);
    }
    let mut values = BTreeMap::new();
    for operation in OPERATIONS {
        eprintln!("instructions: {}", operation.name);
        let instructions = instructions_of(operation)?;
        let of_one = instructions as f64 / f64::from(REPETITIONS);
        values.insert(operation.name.to_owned(), of_one);
    }
    let series = [Series {
        unit: "instructions",
        slack: Slack::Share(0.1),
        values,
    }];
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

/// Not inlined, so that callgrind finds it by its name.
#[inline(never)]
fn repeat(operation: &mut Repeat, times: u32) {
    (0..times).for_each(|_| operation());
}

/// Of all repetitions.
fn instructions_of(operation: Operation) -> anyhow::Result<u64> {
    let output = Process::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            COUNTED,
        ])
        .arg(env::current_exe()?)
        .args(["repeat", operation.name, &REPETITIONS.to_string()])
        .output()
        .context("valgrind cannot be started: is it installed?")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {told}", operation.name);
    let collected = told
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .with_context(|| format!("callgrind told no count: {told}"))?;
    let instructions = collected.1.trim().parse()?;
    ensure!(
        instructions > u64::from(REPETITIONS),
        "{}: callgrind did not find what to count",
        operation.name
    );
    Ok(instructions)
}
