//! The name of a token within this process.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use crate::SessionToken;

/// Each half has a key of its own.
static KEYS: LazyLock<[RandomState; 2]> =
    LazyLock::new(|| [RandomState::new(), RandomState::new()]);

/// A keyed hash of a token, 128 bits; each process draws its own secret key. It does not reveal the
/// token. Tables that must not keep tokens use it as their key.
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
    /// The hash of `token`. It is computed once for each value of a token.
    #[must_use]
    pub fn of(token: &SessionToken) -> Self {
        token.hash(|| {
            let [high, low] = KEYS
                .each_ref()
                .map(|key| key.hash_one(token.expose_secret()));
            Self(u128::from(high) << 64 | u128::from(low))
        })
    }

    /// One half, which is as good a hash.
    #[must_use]
    pub fn low(self) -> u64 {
        self.0 as u64
    }

    /// The other half, of which the first one tells nothing.
    #[must_use]
    pub fn high(self) -> u64 {
        (self.0 >> 64) as u64
    }
}
