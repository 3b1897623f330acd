//! CPU time and memory of a process and all its descendants, read from `/proc`.

use std::{collections::BTreeMap, fs};

use anyhow::Context;

/// CPU time of each thread of a process and its descendants, in nanoseconds. The map is keyed by
/// thread id.
pub(crate) struct CpuTime(BTreeMap<u32, u64>);

impl CpuTime {
    /// Reads the CPU time that each thread of the processes `pids` and of their descendants has
    /// used since the start of the thread.
    pub(crate) fn of(pids: &[u32]) -> Self {
        let mut threads = BTreeMap::new();
        for process in pids.iter().flat_map(|pid| tree(*pid)) {
            for thread in numbers(&format!("/proc/{process}/task")) {
                let path = format!("/proc/{process}/task/{thread}/schedstat");
                // Skips the thread if the file is missing, because the thread has then ended.
                let Ok(text) = fs::read_to_string(path) else {
                    continue;
                };
                let on_processor = text.split(' ').next().and_then(|text| text.parse().ok());
                threads.insert(thread, on_processor.unwrap_or_default());
            }
        }
        Self(threads)
    }

    /// Returns the CPU time that all threads used between the readings `earlier` and `self`, in
    /// nanoseconds.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        let spent = self.0.iter().map(|(thread, now)| {
            let before = earlier.0.get(thread).copied().unwrap_or_default();
            now.saturating_sub(before)
        });
        spent.sum()
    }
}

/// Returns the resident memory of the process `pid` and all its descendants, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let mut kibibytes = 0;
    for process in tree(pid) {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kibibytes += number.context("no VmRSS")?;
    }
    Ok(kibibytes * 1_024)
}

/// Returns the process id `pid`, and the process ids of all descendants of that process.
fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    for thread in numbers(&format!("/proc/{pid}/task")) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        found.extend(children.flat_map(tree));
    }
    found
}

/// Returns the file names in `folder` that are numbers. In `/proc`, such names are process or
/// thread ids.
fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
