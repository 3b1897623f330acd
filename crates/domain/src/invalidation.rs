//! Port (interface) for cache invalidation: a store reports changed records to caches of sessions.

use std::{fmt, time::Instant};

use zeroize::Zeroizing;

/// Identifier of one running server process of a store. After a restart, the server has another
/// identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreInstance(pub u128);

/// Key under which a store keeps the record of a session.
///
/// The key may contain a token, so it is treated as a secret: there is no `Display`, `Debug` does
/// not show the key, and the memory of the key is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreKey(Zeroizing<Box<[u8]>>);

impl StoreKey {
    /// Copies the bytes of a record's key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(Zeroizing::new(key.into()))
    }

    /// Returns the bytes of the record's key.
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

/// Receiver of the invalidations that a store sends to a cache of sessions. The store reports the
/// changes made by all of its clients.
///
/// The store's adapter calls the listener from one task. A cache must not serve a cached copy of a
/// session unless [`feed_confirmed`](Self::feed_confirmed) was called recently.
pub trait InvalidationListener: Send + Sync + 'static {
    /// Handles an invalidation: the record under `key` was changed, was removed, or has expired.
    fn invalidate(&self, key: &[u8]);

    /// Handles the loss of the invalidation feed (the stream of invalidations from the store).
    /// Changes may have been missed, so no cached copy of a session is valid until
    /// [`feed_confirmed`](Self::feed_confirmed) is called.
    fn feed_lost(&self);

    /// Handles the confirmation that the invalidation feed is complete up to the time `requested`.
    /// Every change that the server `instance` acknowledged to a writer before that time has been
    /// reported.
    fn feed_confirmed(&self, instance: StoreInstance, requested: Instant);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_key_returns_its_bytes_but_debug_output_is_redacted() {
        let key = StoreKey::new(b"session:s3cret");
        assert_eq!(key.expose_secret(), b"session:s3cret");
        assert_eq!(format!("{key:?}"), "StoreKey([redacted])");
    }
}
