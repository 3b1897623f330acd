//! A hasher for tables with hashes of tokens as keys.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hasher_returns_the_low_half_of_a_token_hash() {
        let mut hasher = TokenHasher::default();
        hasher.write_u128(7 << 64 | 42);
        assert_eq!(hasher.finish(), 42);
    }

    #[test]
    fn hash_of_a_byte_string_depends_on_each_byte_and_on_the_order_of_the_bytes() {
        let hash = |bytes: &[u8]| {
            let mut hasher = TokenHasher::default();
            hasher.write(bytes);
            hasher.finish()
        };
        assert_eq!(hash(&[1, 2]), 0x0102);
        // After eight more bytes, the first byte is rotated back to the position of the last byte:
        // 3 XOR 1 is 2.
        assert_eq!(hash(&[3, 0, 0, 0, 0, 0, 0, 0, 1]), 2);
    }
}
