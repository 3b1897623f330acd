//! A memory allocator that counts allocations.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ops::Sub,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::allocation_sites;

static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The system allocator with counters for allocations. A reallocation counts as an allocation of
/// the new size, because the memory may have to be moved.
#[derive(Debug)]
pub struct CountingAllocator;

/// Number and size of the allocations of all threads of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocated {
    /// Number of allocations of the process.
    pub calls: u64,
    /// Number of bytes that the process has allocated.
    pub bytes: u64,
}

impl Allocated {
    /// Returns the allocations since the start of the process.
    #[must_use]
    pub fn since_start() -> Self {
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

fn count(size: usize) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(size as u64, Ordering::Relaxed);
    allocation_sites::record(size);
}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call is passed to `System` with the same arguments, and `System` fulfils the
// contract of `GlobalAlloc`. The function `count`, which is called first, does not access memory
// that is allocated or freed by the call, and does not unwind.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller fulfils the contract of `alloc`, which is also the contract of
        // `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller fulfils the contract of `alloc_zeroed`, which is also the contract of
        // `System`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: the caller fulfils the contract of `realloc`, which is also the contract of
        // `System`. `memory` was allocated by `System` through this type.
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller fulfils the contract of `dealloc`, which is also the contract of
        // `System`. `memory` was allocated by `System` through this type.
        unsafe { System.dealloc(memory, layout) }
    }
}
