//! Where allocations come from: a backtrace of each, told apart by the lines that led to it.

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

/// Deeper frames are the runtime's.
const DEPTH: usize = 128;

static IS_WATCHING: AtomicBool = AtomicBool::new(false);

static SEEN: Mutex<Option<HashMap<Box<[usize]>, Cost>>> = Mutex::new(None);

thread_local! {
    /// What is allocated in order to note an allocation is not noted.
    static IS_NOTING: Cell<bool> = const { Cell::new(false) };
}

/// What was allocated in one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// How often.
    pub calls: u64,
    /// How much in all.
    pub bytes: u64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.bytes += other.bytes;
    }
}

/// Notes each allocation of every thread from now on, which makes each of them slow.
pub fn watch() {
    IS_WATCHING.store(true, Ordering::Relaxed);
}

/// Ends the watch: where allocations came from since then, the most frequent first.
#[must_use]
pub fn found() -> Vec<(CallPath, Cost)> {
    IS_WATCHING.store(false, Ordering::Relaxed);
    let seen = seen().take().unwrap_or_default();
    let mut by_path = HashMap::<CallPath, Cost>::new();
    for (addresses, cost) in seen {
        by_path
            .entry(CallPath::of(&addresses))
            .or_default()
            .add(cost);
    }
    let mut found: Vec<_> = by_path.into_iter().collect();
    found.sort_by(|(left, left_cost), (right, right_cost)| {
        right_cost
            .calls
            .cmp(&left_cost.calls)
            .then_with(|| left.cmp(right))
    });
    found
}

pub(crate) fn note(size: usize) {
    if !IS_WATCHING.load(Ordering::Relaxed) || IS_NOTING.replace(true) {
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
    let mut seen = seen();
    let seen_here = seen.get_or_insert_default();
    match seen_here.get_mut(&addresses[..depth]) {
        Some(known) => known.add(cost),
        None => drop(seen_here.insert(addresses[..depth].into(), cost)),
    }
    drop(seen);
    IS_NOTING.set(false);
}

fn seen() -> MutexGuard<'static, Option<HashMap<Box<[usize]>, Cost>>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}
