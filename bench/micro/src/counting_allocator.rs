//! An allocator that counts what is asked of it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ops::Sub,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::allocation_sites;

static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counted. Memory that grows in place counts as a new allocation of its
/// new size, since it may have to move.
#[derive(Debug)]
pub struct CountingAllocator;

/// What was asked for, by every thread of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocated {
    /// How often.
    pub calls: u64,
    /// How much in all.
    pub bytes: u64,
}

impl Allocated {
    /// Since the process began.
    #[must_use]
    pub fn so_far() -> Self {
        Self {
            calls: CALLS.load(Ordering::Relaxed),
            bytes: BYTES.load(Ordering::Relaxed),
        }
    }
}

impl Sub for Allocated {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            calls: self.calls - earlier.calls,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

fn note(size: usize) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(size as u64, Ordering::Relaxed);
    allocation_sites::note(size);
}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes on to `System` as it came, and `System` keeps the contract. What is done
// before that touches no memory that was allocated here, and does not unwind.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps to the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above, for `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(new_size);
        // SAFETY: as above, for `realloc`: `memory` came from `System`, by this type.
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above, for `dealloc`: `memory` came from `System`, by this type.
        unsafe { System.dealloc(memory, layout) }
    }
}
