//! Derivation of keys and of the session id from a token, with a one-way function.

use std::{fmt, sync::LazyLock};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{SessionId, SessionToken};

/// HKDF salt for all values that are derived from a token.
const DERIVATION_SALT: &[u8] = b"tee-session v1";

/// Length in bytes of one output block of HKDF-SHA-256.
const BLOCK_LEN: usize = 32;

/// HKDF label (`info` input) with which the session id is derived.
const SESSION_ID_LABEL: &[u8] = b"session id";

/// HMAC state with [`DERIVATION_SALT`] as its key, computed once per process.
///
/// This module implements HKDF with a few calls of HMAC, so that computed keys can be reused.
/// Deriving values is most of the cost of encrypting a record. Reused keys halve this cost,
/// compared with one call of an HKDF library per value.
static SALT: LazyLock<Hmac<Sha256>> = LazyLock::new(|| keyed(DERIVATION_SALT));

#[expect(
    clippy::expect_used,
    reason = "HMAC takes keys of any length (RFC 2104)"
)]
pub(crate) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("any length")
}

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

/// Pseudorandom key that HKDF-Extract produces and HKDF-Expand uses. The memory of the key is wiped
/// on drop.
pub(crate) type PseudorandomKey = Hmac<Sha256>;

impl<'a> TokenDerivation<'a> {
    /// Starts derivations from `token`. The first call computes the pseudorandom key with
    /// HKDF-Extract and caches it in the token.
    #[must_use]
    pub fn of(token: &'a SessionToken) -> Self {
        let key = token.pseudorandom_key(|| extract(token));
        Self { token, key }
    }

    /// Derives the session id, with the label `session id`.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.token.session_id(|| self.derive_session_id())
    }

    pub(crate) fn derive_session_id(&self) -> SessionId {
        SessionId::from_bytes(self.expand(SESSION_ID_LABEL))
    }

    /// Derives a secret key of 256 bits. `label` names the purpose of the key, and each purpose
    /// needs its own label.
    #[must_use]
    pub fn key(&self, label: &[u8]) -> DerivedKey {
        DerivedKey(Zeroizing::new(self.expand(label)))
    }

    /// Runs HKDF-Expand for one output block. One block is long enough for every value that this
    /// module derives.
    fn expand<const N: usize>(&self, label: &[u8]) -> [u8; N] {
        const { assert!(N <= BLOCK_LEN) };
        let mut expand = self.key.clone();
        expand.update(label);
        expand.update(&[1]);
        let block = Zeroizing::new(<[u8; BLOCK_LEN]>::from(expand.finalize().into_bytes()));
        let mut value = [0; N];
        value.copy_from_slice(&block[..N]);
        value
    }
}

fn extract(token: &SessionToken) -> PseudorandomKey {
    let mut extract = SALT.clone();
    extract.update(token.expose_secret().as_bytes());
    let extracted = Zeroizing::new(<[u8; BLOCK_LEN]>::from(extract.finalize().into_bytes()));
    keyed(extracted.as_slice())
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::hkdf;

    use super::*;
    use crate::TokenFormat;

    /// Compares keys derived with this module with those of the HKDF implementation in `aws-lc-rs`.
    #[test]
    fn derived_keys_match_another_hkdf_implementation() {
        struct Length;
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                BLOCK_LEN
            }
        }
        for token in [TokenFormat::Uuid, TokenFormat::Opaque].map(SessionToken::generate_as) {
            for label in ["", "record key", &"long".repeat(100)] {
                let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, DERIVATION_SALT);
                let prk = salt.extract(token.expose_secret().as_bytes());
                let mut expected = [0; BLOCK_LEN];
                let info = [label.as_bytes()];
                let okm = prk.expand(&info, Length).unwrap();
                okm.fill(&mut expected).unwrap();
                let derived = TokenDerivation::of(&token).key(label.as_bytes());
                assert_eq!(*derived.expose_secret(), expected);
            }
        }
    }

    #[test]
    fn debug_output_of_derived_values_is_redacted() {
        let token = SessionToken::generate();
        let derivation = TokenDerivation::of(&token);
        let shown = format!("{derivation:?} {:?}", derivation.key(b"any"));
        assert_eq!(shown, "TokenDerivation([redacted]) DerivedKey([redacted])");
    }
}
