//! What sessions are called within the cache.

use std::hash::{BuildHasher, Hasher, RandomState};

use tee_session_domain::SessionToken;

/// A token by another name, from which nobody gets it back: 128 bits of a hash with a secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Name(u128);

/// Gives names. Each process has its own.
#[derive(Debug, Default)]
pub(crate) struct Names {
    high: RandomState,
    low: RandomState,
}

impl Names {
    pub(crate) fn of(&self, token: &SessionToken) -> Name {
        let token = token.expose_secret();
        let (high, low) = (self.high.hash_one(token), self.low.hash_one(token));
        Name(u128::from(high) << 64 | u128::from(low))
    }
}

/// For tables whose keys are names: they are hashes already.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u128(&mut self, name: u128) {
        // The low half alone is as good as both.
        self.0 = name as u64;
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
    fn a_token_has_one_name_and_another_in_each_process() {
        let (one, other) = (SessionToken::generate(), SessionToken::generate());
        let names = Names::default();
        assert_eq!(names.of(&one), names.of(&one.clone()));
        assert_ne!(names.of(&one), names.of(&other));
        assert_ne!(names.of(&one), Names::default().of(&one));
    }
}
