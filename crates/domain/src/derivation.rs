//! Derivation of keys, of the session id and of the token hash from a token.

use std::fmt;

use zeroize::Zeroizing;

use crate::{
    SessionId, SessionToken, TokenHash,
    hkdf::{PseudorandomKey, expand, extract},
};

/// HKDF label (`info` input) with which the session id is derived.
const SESSION_ID_LABEL: &[u8] = b"session id";

/// Derives values from a token with HKDF-SHA-256 (RFC 5869).
///
/// The input key material is the token's canonical text, and the salt is `tee-session v1`. Each
/// value has its own label, which is the `info` input of HKDF. Values with different labels reveal
/// nothing about each other or about the token.
///
/// ```
/// use tee_session_domain::{SessionId, SessionToken, TokenDerivation};
///
/// let token = SessionToken::generate();
/// let derivation = TokenDerivation::of(&token);
/// assert_eq!(derivation.session_id(), SessionId::of(&token));
/// let (one, another) = (derivation.key(b"one"), derivation.key(b"another"));
/// assert_ne!(one.expose_secret(), another.expose_secret());
/// ```
pub struct TokenDerivation<'a> {
    token: &'a SessionToken,
    key: &'a PseudorandomKey,
}

impl<'a> TokenDerivation<'a> {
    /// Starts derivations from `token`. The first call computes the pseudorandom key with
    /// HKDF-Extract and caches it in the token.
    #[must_use]
    pub fn of(token: &'a SessionToken) -> Self {
        let key = token.pseudorandom_key(|| extract(token.expose_secret().as_bytes()));
        Self { token, key }
    }

    /// Derives the session id, with the label `session id`.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.token.session_id(|| self.derive_session_id())
    }

    fn derive_session_id(&self) -> SessionId {
        SessionId::from_bytes(expand(self.key, SESSION_ID_LABEL))
    }

    /// Derives a secret key of 256 bits. `label` names the purpose of the key, and each purpose
    /// needs its own label.
    #[must_use]
    pub fn key(&self, label: &[u8]) -> DerivedKey {
        DerivedKey::new(expand(self.key, label))
    }
}

impl fmt::Debug for TokenDerivation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDerivation([redacted])")
    }
}

/// A secret key of 256 bits, derived from a token. The memory of the key is wiped on drop.
#[derive(Clone)]
pub struct DerivedKey(Zeroizing<[u8; 32]>);

impl DerivedKey {
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the 32 bytes of the derived key.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedKey([redacted])")
    }
}

impl SessionId {
    /// Returns the id of the session that belongs to `token`. The first call derives the id and
    /// caches it in the token.
    #[must_use]
    pub fn of(token: &SessionToken) -> Self {
        token.session_id(|| TokenDerivation::of(token).derive_session_id())
    }
}

impl TokenHash {
    /// Returns the hash of `token`. The first call computes the hash and caches it in the token.
    #[must_use]
    pub fn of(token: &SessionToken) -> Self {
        token.hash(|| Self::of_text(token.expose_secret()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected session id was computed with Python's `hmac` and `hashlib`, not with this
    /// crate.
    #[test]
    fn session_id_matches_the_published_test_vector() {
        let token: SessionToken = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".parse().unwrap();
        assert_eq!(SessionId::of(&token).to_string(), "j_2qi1vxH8YfgWR4eH1LDg");
    }

    #[test]
    fn different_tokens_have_different_session_ids() {
        let (one, other) = (SessionToken::generate(), SessionToken::generate());
        assert_ne!(SessionId::of(&one), SessionId::of(&other));
    }

    #[test]
    fn debug_output_of_derived_values_is_redacted() {
        let token = SessionToken::generate();
        let derivation = TokenDerivation::of(&token);
        let shown = format!("{derivation:?} {:?}", derivation.key(b"any"));
        assert_eq!(shown, "TokenDerivation([redacted]) DerivedKey([redacted])");
    }
}
