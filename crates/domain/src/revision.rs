//! Revision: identifier of one state of stored data, for compare-and-swap.

use std::fmt;

use zeroize::Zeroizing;

/// Identifier of one state of a stored session or of an idempotency record. Two states with
/// different content never have the same revision. Only the repository that created a revision can
/// interpret its bytes.
///
/// A revision may contain cookies or a token, so it is treated as a secret: `Debug` does not show
/// its bytes, and its memory is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Revision(Zeroizing<Vec<u8>>);

impl Revision {
    /// Creates a revision from bytes that identify the state of a session or record.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes of the revision.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revision([redacted])")
    }
}
