//! The session id: a public name for a session, derived one way from its token.

use std::{fmt, sync::LazyLock};

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::SessionToken;

/// Bytes of a session id.
const SESSION_ID_LEN: usize = 16;

/// HKDF salt of all derivations from a token.
const DERIVATION_SALT: &[u8] = b"tee-session v1";

/// HKDF info of this derivation.
const SESSION_ID_LABEL: &[u8] = b"session id";

static SALT: LazyLock<Salt> = LazyLock::new(|| Salt::new(HKDF_SHA256, DERIVATION_SALT));

/// Names a session to operators, in URLs and in logs, and opens nothing.
///
/// Sixteen bytes of HKDF-SHA-256 (RFC 5869) with the salt `tee-session v1`, the token's
/// canonical text as input key material and the info `session id`; shown in base64url without
/// padding (RFC 4648, section 5), 22 characters. The token cannot be computed from it.
///
/// ```
/// use tee_session_domain::{SessionId, SessionToken};
///
/// let token: SessionToken = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".parse()?;
/// assert_eq!(SessionId::of(&token).to_string().len(), 22);
/// # Ok::<(), tee_session_domain::ParseTokenError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; SESSION_ID_LEN]);

impl SessionId {
    /// Derives the id of the session that `token` opens. Costs about a microsecond.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "HKDF-SHA-256 gives up to 8160 bytes; 16 cannot fail"
    )]
    pub fn of(token: &SessionToken) -> Self {
        let mut id = [0; SESSION_ID_LEN];
        SALT.extract(token.expose_secret().as_bytes())
            .expand(&[SESSION_ID_LABEL], Length)
            .and_then(|okm| okm.fill(&mut id))
            .expect("16 bytes are within the reach of HKDF-SHA-256");
        Self(id)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        SESSION_ID_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac` and `hashlib`, not with this code.
    #[test]
    fn follows_the_published_test_vector() {
        let token: SessionToken = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".parse().unwrap();
        assert_eq!(SessionId::of(&token).to_string(), "j_2qi1vxH8YfgWR4eH1LDg");
    }

    #[test]
    fn two_tokens_have_two_ids() {
        let (one, other) = (SessionToken::generate(), SessionToken::generate());
        assert_ne!(SessionId::of(&one), SessionId::of(&other));
    }
}
