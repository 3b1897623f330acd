//! The hasher of tables whose keys are hashes of tokens.

use std::hash::Hasher;

/// Takes one half of a [`TokenHash`](tee_session_domain::TokenHash) as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u128(&mut self, hash: u128) {
        // The low half alone is as good as both.
        self.0 = hash as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}
