//! The port for copies: how a store tells of changes to whoever keeps sessions near.

use std::{fmt, time::Instant};

use zeroize::Zeroizing;

/// A running server of a store. Another server, or the same one started again, is another instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreInstance(pub u128);

/// What a record is called in its store. It may hold a token: it has no `Display`, its `Debug`
/// shows nothing of it, and its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreKey(Zeroizing<Box<[u8]>>);

impl StoreKey {
    /// The record that stands under `key`.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(Zeroizing::new(key.into()))
    }

    /// The key's bytes.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey([redacted])")
    }
}

/// Who keeps copies of sessions and must hear of changes to them, whoever made them.
///
/// A store's adapter calls it, from one task. Nothing may be answered from a copy unless
/// [`told`](Self::told) was called a moment ago.
pub trait ChangeListener: Send + Sync + 'static {
    /// The record under `key` was changed, was removed, or has ended.
    fn changed(&self, key: &[u8]);

    /// Changes may have gone untold: no copy is good any more. It lasts until
    /// [`told`](Self::told) is called.
    fn lost(&self);

    /// Whatever was changed at `instance`, and acknowledged to whoever changed it before `asked`,
    /// has been told by now.
    fn told(&self, instance: StoreInstance, asked: Instant);
}
