//! Hash that identifies a token in tables of this process.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

/// Secret keys of the hash function, one for each half of the hash. The keys are generated once per
/// process.
static KEYS: LazyLock<[RandomState; 2]> =
    LazyLock::new(|| [RandomState::new(), RandomState::new()]);

/// Hash of a token, 128 bits long, computed with secret keys. Each process generates its own secret
/// keys. The hash does not reveal the token, so it identifies sessions in tables that must not
/// contain tokens.
///
/// ```
/// use tee_session_domain::{SessionToken, TokenHash};
///
/// let token = SessionToken::generate();
/// assert_eq!(TokenHash::of(&token), TokenHash::of(&token.clone()));
/// assert_ne!(TokenHash::of(&token), TokenHash::of(&SessionToken::generate()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(u128);

impl TokenHash {
    pub(crate) fn of_text(token: &str) -> Self {
        let [high, low] = KEYS.each_ref().map(|key| key.hash_one(token));
        Self(u128::from(high) << 64 | u128::from(low))
    }

    /// Returns the low 64 bits of the hash, which are a good 64-bit hash by themselves.
    #[must_use]
    pub fn low(self) -> u64 {
        self.0 as u64
    }

    /// Returns the high 64 bits of the hash, which are independent of the low 64 bits.
    #[must_use]
    pub fn high(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use crate::{SessionToken, TokenHash};

    #[test]
    fn both_halves_of_a_hash_depend_on_the_token_and_differ_from_each_other() {
        let (token, other) = (SessionToken::generate(), SessionToken::generate());
        let (hash, other_hash) = (TokenHash::of(&token), TokenHash::of(&other));
        assert_eq!(TokenHash::of(&token), hash);
        assert_ne!(hash.low(), other_hash.low());
        assert_ne!(hash.high(), other_hash.high());
        assert_ne!(hash.low(), hash.high());
    }
}
