//! A hasher for tables whose keys already are hashes of tokens.

use std::hash::Hasher;

/// A hasher that returns the low half of a [`TokenHash`](tee_session_domain::TokenHash) unchanged.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u128(&mut self, hash: u128) {
        // A token hash is uniformly distributed, so its low half is sufficient as the hash of a
        // table key.
        self.0 = hash as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}
