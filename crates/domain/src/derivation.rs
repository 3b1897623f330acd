//! What is derived from a token, one way.

use std::{fmt, sync::LazyLock};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{SessionId, SessionToken};

/// HKDF salt of all derivations from a token.
const DERIVATION_SALT: &[u8] = b"tee-session v1";

/// Bytes of one block of HKDF-SHA-256.
const BLOCK_LEN: usize = 32;

/// HKDF info of the session id.
const SESSION_ID_LABEL: &[u8] = b"session id";

/// HKDF is four lines of HMAC. With keys that are made once, it costs half of what a call for each
/// value costs, and it is most of what sealing costs.
static SALT: LazyLock<Hmac<Sha256>> = LazyLock::new(|| keyed(DERIVATION_SALT));

#[expect(
    clippy::expect_used,
    reason = "HMAC takes keys of any length (RFC 2104)"
)]
pub(crate) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("any length")
}

/// The values that HKDF-SHA-256 (RFC 5869) derives from a token: its canonical text is the
/// input key material, the salt is `tee-session v1`, and distinct labels (HKDF's info) give
/// values that tell nothing of each other, nor of the token.
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

/// The pseudorandom key of HKDF, ready to expand. Its memory is wiped when it is dropped.
pub(crate) type PseudorandomKey = Hmac<Sha256>;

impl<'a> TokenDerivation<'a> {
    /// Starts the derivations from `token`: HKDF-Extract, which is done once for each value of a
    /// token.
    #[must_use]
    pub fn of(token: &'a SessionToken) -> Self {
        let key = token.pseudorandom_key(|| extract(token));
        Self { token, key }
    }

    /// The session's public name: the label is `session id`.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.token.session_id(|| self.derive_session_id())
    }

    pub(crate) fn derive_session_id(&self) -> SessionId {
        SessionId::from_bytes(self.expand(SESSION_ID_LABEL))
    }

    /// A secret key of 256 bits for the use that `label` names.
    #[must_use]
    pub fn key(&self, label: &[u8]) -> DerivedKey {
        DerivedKey(Zeroizing::new(self.expand(label)))
    }

    /// HKDF-Expand, of which the first block is enough.
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

/// A secret key that was derived from a token. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct DerivedKey(Zeroizing<[u8; 32]>);

impl DerivedKey {
    /// The key's 32 bytes.
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

    /// Against another implementation of HKDF.
    #[test]
    fn what_is_derived_is_hkdf_of_the_label() {
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
    fn debug_shows_nothing_of_what_is_derived() {
        let token = SessionToken::generate();
        let derivation = TokenDerivation::of(&token);
        let shown = format!("{derivation:?} {:?}", derivation.key(b"any"));
        assert_eq!(shown, "TokenDerivation([redacted]) DerivedKey([redacted])");
    }
}
