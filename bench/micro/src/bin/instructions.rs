//! Counts the processor instructions of each operation of the hot path, and compares the counts
//! with those recorded in `instructions.toml`.

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

/// Memory allocator of this benchmark. Tee Session uses the same allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");

/// Comment at the start of the file `instructions.toml`.
const COMMENT: &str = "Instructions of one operation of the hot path (x86-64), counted by \
     `bench/micro/run counts --record`\nwith callgrind. Callgrind simulates a processor without \
     SHA-256 instructions, so sealed_location,\nwhich hashes, has a higher count than on a real \
     processor.";

const HOW_TO_RECORD: &str = "bench/micro/run counts --record";

/// Number of repetitions of each operation in one measurement.
const REPETITIONS: u32 = 2_000;

/// Option that makes callgrind count only the instructions within [`repeat`]. Code that runs
/// earlier, such as gathering entropy, takes more instructions than the measured operation, and
/// their number varies.
const COUNTED: &str = "--toggle-collect=instructions::repeat*";

fn command() -> Command {
    Command::new("instructions")
        .about("Counts the instructions of each operation and compares them with the record")
        .args_conflicts_with_subcommands(true)
        .arg(
            Arg::new("record")
                .long("record")
                .action(ArgAction::SetTrue)
                .help("Write the counts to the record"),
        )
        .subcommand(
            Command::new("repeat")
                .about("Repeats one operation, to count or profile its instructions")
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
        let operation = Operation::named(name).context("unknown operation")?;
        repeat(&mut operation.prepared()?, times);
        return Ok(ExitCode::SUCCESS);
    }
    let mut values = BTreeMap::new();
    for operation in OPERATIONS {
        eprintln!("instructions: {}", operation.name);
        let instructions = instructions_of(operation)?;
        let per_operation = instructions as f64 / f64::from(REPETITIONS);
        values.insert(operation.name.to_owned(), per_operation);
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
    Ok(if verdict.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Calls `operation` `times` times. The function is not inlined, so that callgrind finds the
/// function by its name.
#[inline(never)]
fn repeat(operation: &mut Repeat, times: u32) {
    (0..times).for_each(|_| operation());
}

/// Runs `operation` [`REPETITIONS`] times under callgrind, and returns the total number of
/// instructions.
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
        .context("valgrind cannot be started: install it (scripts/setup --bench)")?;
    let report = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {report}", operation.name);
    let collected = report
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .with_context(|| format!("the callgrind output contains no count: {report}"))?;
    let instructions = collected.1.trim().parse()?;
    ensure!(
        instructions > u64::from(REPETITIONS),
        "{}: callgrind did not find the function to count",
        operation.name
    );
    Ok(instructions)
}
