//! Semaphores (gates), one for each key. A semaphore exists only while it is used.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// Map of semaphores (gates), with one gate for each key that is in use.
#[derive(Debug)]
pub(super) struct Gates<K: Hash + Eq + Clone> {
    open: Mutex<HashMap<K, Arc<Gate>>>,
    places: usize,
    max_waiting: usize,
}

#[derive(Debug)]
struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Number of permits of the gate that were released so far. [`Watched`] compares this number
    /// with an earlier one.
    freed: AtomicUsize,
}

/// Reference to the gate (semaphore) of a key. When the last reference to a gate is dropped, the
/// gate is removed from the map.
#[derive(Debug)]
struct Reference<K: Hash + Eq + Clone> {
    gates: Arc<Gates<K>>,
    key: K,
    /// Gate to which this reference points. `None` only while the reference is being dropped.
    gate: Option<Arc<Gate>>,
}

impl<K: Hash + Eq + Clone> Reference<K> {
    fn freed(&self) -> usize {
        let gate = self.gate.as_ref();
        gate.map_or(0, |gate| gate.freed.load(Ordering::Acquire))
    }
}

impl<K: Hash + Eq + Clone> Drop for Reference<K> {
    fn drop(&mut self) {
        let mut open = self.gates.open();
        drop(self.gate.take());
        // The table is locked, and references are created only under this lock. No other caller can
        // therefore get a reference now.
        if open
            .get(&self.key)
            .is_some_and(|gate| Arc::strong_count(gate) == 1)
        {
            open.remove(&self.key);
        }
    }
}

/// Detects that a permit of the gate of a key was released.
#[derive(Debug)]
pub(super) struct Watched<K: Hash + Eq + Clone> {
    reference: Reference<K>,
    freed: usize,
}

impl<K: Hash + Eq + Clone> Watched<K> {
    /// Returns `true` if a permit was released since this value was created.
    pub(super) fn has_changed(&self) -> bool {
        self.reference.freed() != self.freed
    }
}

/// A permit of the gate of a key. Dropping the value releases the permit.
#[derive(Debug)]
pub(super) struct Held<K: Hash + Eq + Clone> {
    reference: Reference<K>,
    permit: Option<OwnedSemaphorePermit>,
    has_waited: bool,
}

impl<K: Hash + Eq + Clone> Held<K> {
    pub(super) fn has_waited(&self) -> bool {
        self.has_waited
    }
}

impl<K: Hash + Eq + Clone> Drop for Held<K> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        // The number is increased before the permit is released, so the next holder of the permit
        // sees the new number.
        if let Some(gate) = &self.reference.gate {
            gate.freed.fetch_add(1, Ordering::Release);
        }
        drop(permit);
    }
}

impl<K: Hash + Eq + Clone> Gates<K> {
    pub(super) fn new(places: usize, max_waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            places: places.min(Semaphore::MAX_PERMITS),
            max_waiting,
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<K, Arc<Gate>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gate(&self, key: &K) -> Arc<Gate> {
        let mut open = self.open();
        let gate = open.entry(key.clone()).or_insert_with(|| {
            Arc::new(Gate {
                places: Arc::new(Semaphore::new(self.places)),
                waiting: AtomicUsize::new(0),
                freed: AtomicUsize::new(0),
            })
        });
        Arc::clone(gate)
    }

    fn reference(self: &Arc<Self>, key: K) -> Reference<K> {
        Reference {
            gate: Some(self.gate(&key)),
            gates: Arc::clone(self),
            key,
        }
    }

    /// Returns a value that detects that a permit of the gate of `key` was released after this
    /// call.
    pub(super) fn watch(self: &Arc<Self>, key: K) -> Watched<K> {
        let reference = self.reference(key);
        Watched {
            freed: reference.freed(),
            reference,
        }
    }

    /// Waits for a permit of the gate of `key`, in order of arrival. Returns `None` if there is no
    /// permit at the time `until`, or if too many callers already wait.
    pub(super) async fn enter(self: &Arc<Self>, key: K, until: Instant) -> Option<Held<K>> {
        let mut held = Held {
            reference: self.reference(key),
            permit: None,
            has_waited: false,
        };
        let gate = held.reference.gate.clone()?;
        let places = Arc::clone(&gate.places);
        held.permit = match Arc::clone(&places).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                held.has_waited = true;
                let waiting = Waiting::begin(gate);
                if waiting.before >= self.max_waiting {
                    return None;
                }
                let permit = timeout_at(until, places.acquire_owned()).await;
                permit.ok().and_then(Result::ok)
            }
        };
        held.permit.is_some().then_some(held)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open().len()
    }
}

struct Waiting {
    gate: Arc<Gate>,
    before: usize,
}

impl Waiting {
    fn begin(gate: Arc<Gate>) -> Self {
        let before = gate.waiting.fetch_add(1, Ordering::Relaxed);
        Self { gate, before }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gate.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
