//! Description of the machine and the program versions of a measurement.

use std::{fs, thread};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};
use tokio::process::Command;

use crate::running::Running;

/// Date, hardware, kernel and program versions of a measurement.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// Names and versions of all programs and libraries in the comparison.
    pub(crate) versions: Vec<(String, String)>,
}

/// Rust crates whose versions are listed on the performance page.
const CRATES: [&str; 6] = [
    "actix-web",
    "actix-session",
    "axum",
    "tower-sessions",
    "tower-sessions-redis-store",
    "fred",
];

/// Python packages whose versions are listed on the performance page.
const PYTHON_PACKAGES: [&str; 6] = [
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "redis",
    "hiredis",
];

impl Machine {
    /// Collects the current date, the hardware and kernel of this machine, and the program
    /// versions.
    pub(crate) async fn of_this_run() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kibibytes = after(&memory, "MemTotal", ':')
            .trim_end_matches(" kB")
            .parse::<u64>();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            date: OffsetDateTime::now_utc()
                .to_offset(UtcOffset::UTC)
                .date()
                .to_string(),
            processor: after(&info, "model name", ':'),
            cores: thread::available_parallelism().map_or(0, Into::into),
            memory_gib: kibibytes.unwrap_or_default().div_ceil(1_024 * 1_024),
            kernel: kernel.trim().to_owned(),
            versions: versions().await,
        }
    }
}

/// Prints the commit, with the suffix `-dirty` if the working tree differs from it. Changes in
/// `docs/performance` do not count, because the benchmark itself writes the results there.
const COMMIT: &str = "git diff --quiet HEAD -- ':!docs/performance' || changed=-dirty; \
                      echo $(git describe --always)$changed";

/// Returns the names and versions of the programs, Rust crates and Python packages in the
/// comparison.
async fn versions() -> Vec<(String, String)> {
    let mut versions = Vec::new();
    for (name, arguments) in [
        ("Tee Session, commit", &["sh", "-c", COMMIT][..]),
        ("Rust", &["rustc", "--version"]),
        ("Redis", &["redis-server", "--version"]),
        ("nginx", &["sh", "-c", "/usr/sbin/nginx -v 2>&1"]),
        ("wrk", &["sh", "-c", "wrk -v 2>&1 || true"]),
        ("Python", &["bench/target/venv/bin/python", "--version"]),
    ] {
        let mut command = Command::new(arguments[0]);
        command.args(&arguments[1..]);
        // A program that cannot be run was not measured either, and is omitted.
        if let Ok(text) = Running::output(command).await {
            versions.push((name.to_owned(), number_in(&text)));
        }
    }
    let lock = fs::read_to_string("bench/Cargo.lock").unwrap_or_default();
    for name in CRATES {
        let package = lock.split_once(&format!("name = \"{name}\"\n"));
        let version = package.map(|(_, rest)| after(rest, "version", '=').replace('"', ""));
        versions.extend(version.map(|version| (name.to_owned(), version)));
    }
    let requirements = fs::read_to_string("bench/peers/first-service/requirements.txt");
    let requirements = requirements.unwrap_or_default();
    for line in requirements.lines() {
        if let Some((name, version)) = line.split_once("==")
            && PYTHON_PACKAGES.contains(&name)
        {
            versions.push((format!("{name} (Python)"), version.to_owned()));
        }
    }
    versions
}

/// Finds the first line of `text` that consists of `key`, `separator` and a value. Returns the
/// value, or an empty string if there is no such line.
fn after(text: &str, key: &str, separator: char) -> String {
    let value = text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then(|| value.trim().to_owned())
    });
    value.unwrap_or_default()
}

/// Returns the first word in the first line of `text` that starts with a digit, such as a version
/// number. Returns the whole first line if there is no such word.
fn number_in(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default().trim();
    let mut words = text.split([' ', '=', '/']);
    let number = words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    number.unwrap_or(text).to_owned()
}
