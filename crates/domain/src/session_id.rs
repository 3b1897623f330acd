//! The session id: a public name for a session, derived one way from its token.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;

use crate::{
    SessionToken, TokenDerivation,
    short_text::{self, TEXT_LEN},
};

/// Bytes of a session id.
const SESSION_ID_LEN: usize = 16;

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
    /// Characters of its text.
    pub const TEXT_LEN: usize = TEXT_LEN;

    /// The id of the session that `token` opens. It is derived once for each value of a token.
    #[must_use]
    pub fn of(token: &SessionToken) -> Self {
        token.session_id(|| TokenDerivation::of(token).derive_session_id())
    }

    /// Its text, written into `buffer`: what `Display` gives, without its machinery.
    #[must_use]
    pub fn encode<'a>(&self, buffer: &'a mut [u8; Self::TEXT_LEN]) -> &'a str {
        short_text::encode(&self.0, buffer)
    }

    pub(crate) fn from_bytes(bytes: [u8; SESSION_ID_LEN]) -> Self {
        Self(bytes)
    }

    /// The sixteen bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SESSION_ID_LEN] {
        &self.0
    }
}

/// Accepts the one spelling that `Display` gives.
impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; SESSION_ID_LEN];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(SESSION_ID_LEN) => Ok(Self(bytes)),
            _ => Err(ParseSessionIdError),
        }
    }
}

/// The text is no session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a session id is {TEXT_LEN} characters of base64url")]
pub struct ParseSessionIdError;

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; TEXT_LEN]))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_text() {
        let id = SessionId::of(&SessionToken::generate());
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[rstest]
    #[case::empty("")]
    #[case::too_short("AAAAAAAAAAAAAAAAAAAAA")]
    #[case::too_long("AAAAAAAAAAAAAAAAAAAAAAA")]
    #[case::far_too_long(&"A".repeat(1_000))]
    #[case::spare_bits_set("AAAAAAAAAAAAAAAAAAAAAB")]
    #[case::another_alphabet("AAAAAAAAAAAAAAAAAAAA+A")]
    #[case::padded("AAAAAAAAAAAAAAAAAAAAAA==")]
    fn any_other_spelling_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<SessionId>(), Err(ParseSessionIdError));
    }

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
