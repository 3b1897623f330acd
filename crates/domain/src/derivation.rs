//! What is derived from a token, one way.

use std::{fmt, sync::LazyLock};

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

use zeroize::Zeroizing;

use crate::{SessionId, SessionToken};

/// HKDF salt of all derivations from a token.
const DERIVATION_SALT: &[u8] = b"tee-session v1";

/// HKDF info of the session id.
const SESSION_ID_LABEL: &[u8] = b"session id";

static SALT: LazyLock<Salt> = LazyLock::new(|| Salt::new(HKDF_SHA256, DERIVATION_SALT));

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
pub struct TokenDerivation(Prk);

impl TokenDerivation {
    /// Starts the derivations from `token`. Costs about a microsecond, and each value about as
    /// much again.
    #[must_use]
    pub fn of(token: &SessionToken) -> Self {
        Self(SALT.extract(token.expose_secret().as_bytes()))
    }

    /// The session's public name: the label is `session id`.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        SessionId::from_bytes(self.expand(SESSION_ID_LABEL))
    }

    /// A secret key of 256 bits for the use that `label` names.
    #[must_use]
    pub fn key(&self, label: &[u8]) -> DerivedKey {
        DerivedKey(Zeroizing::new(self.expand(label)))
    }

    #[expect(clippy::expect_used, reason = "HKDF-SHA-256 gives up to 8160 bytes")]
    fn expand<const N: usize>(&self, label: &[u8]) -> [u8; N] {
        let mut value = [0; N];
        self.0
            .expand(&[label], Length(N))
            .and_then(|okm| okm.fill(&mut value))
            .expect("so few bytes are within the reach of HKDF-SHA-256");
        value
    }
}

impl fmt::Debug for TokenDerivation {
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

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_what_is_derived() {
        let derivation = TokenDerivation::of(&SessionToken::generate());
        let shown = format!("{derivation:?} {:?}", derivation.key(b"any"));
        assert_eq!(shown, "TokenDerivation([redacted]) DerivedKey([redacted])");
    }
}
