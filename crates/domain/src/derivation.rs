//! What is derived from a token, one way.

use std::{fmt, sync::LazyLock};

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

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
/// assert_ne!(derivation.key(b"one"), derivation.key(b"another"));
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
    pub fn key(&self, label: &[u8]) -> [u8; 32] {
        self.expand(label)
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

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}
