//! Finds the call paths that allocate memory. Each allocation is recorded with its backtrace, and
//! the allocations are grouped by call path.

mod call_path;

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub use self::call_path::CallPath;

/// Maximum number of recorded stack frames per allocation. Deeper frames belong to the async
/// runtime.
const DEPTH: usize = 128;

/// `true` while allocations of all threads are recorded.
static IS_RECORDING: AtomicBool = AtomicBool::new(false);

/// Number and size of the recorded allocations, by the addresses in the backtrace. `None` if no
/// allocation has been recorded.
static RECORDED: Mutex<Option<HashMap<Box<[usize]>, Cost>>> = Mutex::new(None);

thread_local! {
    /// `true` while this thread records an allocation. The recording itself allocates memory, and
    /// must not record these allocations.
    static IS_BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Number and size of the allocations of one call path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Number of allocations of the call path.
    pub calls: u64,
    /// Number of bytes that the call path has allocated.
    pub bytes: u64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.bytes += other.bytes;
    }
}

/// Starts to record every allocation of every thread. Recording makes each allocation slow.
pub fn start() {
    IS_RECORDING.store(true, Ordering::Relaxed);
}

/// Stops recording. Returns the call path of each recorded allocation, with the most frequent call
/// path first.
#[must_use]
pub fn stop() -> Vec<(CallPath, Cost)> {
    IS_RECORDING.store(false, Ordering::Relaxed);
    let recorded = recorded().take().unwrap_or_default();
    let mut by_path = HashMap::<CallPath, Cost>::new();
    for (addresses, cost) in recorded {
        by_path
            .entry(CallPath::of(&addresses))
            .or_default()
            .add(cost);
    }
    let mut sites: Vec<_> = by_path.into_iter().collect();
    sites.sort_by(|(left, left_cost), (right, right_cost)| {
        right_cost
            .calls
            .cmp(&left_cost.calls)
            .then_with(|| left.cmp(right))
    });
    sites
}

/// Records an allocation of `size` bytes, if recording is active.
pub(crate) fn record(size: usize) {
    if !IS_RECORDING.load(Ordering::Relaxed) || IS_BUSY.replace(true) {
        return;
    }
    let (mut addresses, mut depth) = ([0; DEPTH], 0);
    backtrace::trace(|frame| {
        addresses[depth] = frame.ip() as usize;
        depth += 1;
        depth < DEPTH
    });
    let cost = Cost {
        calls: 1,
        bytes: size as u64,
    };
    let mut recorded = recorded();
    let costs = recorded.get_or_insert_default();
    match costs.get_mut(&addresses[..depth]) {
        Some(known) => known.add(cost),
        None => drop(costs.insert(addresses[..depth].into(), cost)),
    }
    drop(recorded);
    IS_BUSY.set(false);
}

fn recorded() -> MutexGuard<'static, Option<HashMap<Box<[usize]>, Cost>>> {
    RECORDED.lock().unwrap_or_else(PoisonError::into_inner)
}
