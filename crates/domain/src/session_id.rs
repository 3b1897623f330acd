//! The session id: a public name for a session, derived one way from its token.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;

use crate::{SessionToken, TokenDerivation};

/// Bytes of a session id.
const SESSION_ID_LEN: usize = 16;

/// Characters of its text.
const TEXT_LEN: usize = 22;

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
    /// The id of the session that `token` opens. It is derived once for each value of a token.
    #[must_use]
    pub fn of(token: &SessionToken) -> Self {
        token.session_id(|| TokenDerivation::of(token).derive_session_id())
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

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TEXT_LEN];
        let len = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text);
        let len = len.map_err(|_| fmt::Error)?;
        f.write_str(str::from_utf8(&text[..len]).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    /// Accepts the one spelling that `Display` gives.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != TEXT_LEN {
            return Err(ParseSessionIdError);
        }
        let mut bytes = [0; SESSION_ID_LEN];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes);
        len.map_err(|_| ParseSessionIdError)?;
        Ok(Self(bytes))
    }
}

/// The text is not a session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a session id: 22 characters of base64url")]
pub struct ParseSessionIdError;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Computed with Python's `hmac` and `hashlib`, not with this code.
    #[test]
    fn follows_the_published_test_vector() {
        let token: SessionToken = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".parse().unwrap();
        assert_eq!(SessionId::of(&token).to_string(), "j_2qi1vxH8YfgWR4eH1LDg");
    }

    #[test]
    fn its_text_gives_it_back() {
        let id = SessionId::of(&SessionToken::generate());
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[rstest]
    #[case::empty("")]
    #[case::one_short("j_2qi1vxH8YfgWR4eH1LD")]
    #[case::one_long("j_2qi1vxH8YfgWR4eH1LDgg")]
    #[case::padded("j_2qi1vxH8YfgWR4eH1LD=")]
    #[case::stray_bits("j_2qi1vxH8YfgWR4eH1LDh")]
    #[case::standard_alphabet("j/2qi1vxH8YfgWR4eH1LDg")]
    #[case::a_path("../sessions/YfgWR4eH1L")]
    fn refuses_any_other_text(#[case] text: &str) {
        assert_eq!(text.parse::<SessionId>(), Err(ParseSessionIdError));
    }

    #[test]
    fn two_tokens_have_two_ids() {
        let (one, other) = (SessionToken::generate(), SessionToken::generate());
        assert_ne!(SessionId::of(&one), SessionId::of(&other));
    }
}
