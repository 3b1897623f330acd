//! What a process and all its children use of the machine, as the kernel counts it.

use std::{collections::BTreeMap, fs};

use anyhow::Context;

/// Nanoseconds on a processor of each thread.
pub(crate) struct CpuTime(BTreeMap<u32, u64>);

impl CpuTime {
    /// Of `pid` and its children until now.
    pub(crate) fn of(pid: u32) -> Self {
        let mut threads = BTreeMap::new();
        for process in tree(pid) {
            for thread in numbers(&format!("/proc/{process}/task")) {
                let path = format!("/proc/{process}/task/{thread}/schedstat");
                // A thread may end while we look.
                let Ok(text) = fs::read_to_string(path) else {
                    continue;
                };
                let on_processor = text.split(' ').next().and_then(|text| text.parse().ok());
                threads.insert(thread, on_processor.unwrap_or_default());
            }
        }
        Self(threads)
    }

    /// Nanoseconds since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        let spent = self.0.iter().map(|(thread, now)| {
            let before = earlier.0.get(thread).copied().unwrap_or_default();
            now.saturating_sub(before)
        });
        spent.sum()
    }
}

/// Bytes of memory that are resident, of `pid` and its children.
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

/// The names in `folder` that are numbers.
fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}
