//! Session id: a public identifier of a session, derived from its token with a one-way function.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;

use crate::short_text::{self, TEXT_LEN};

/// Length of a session id in bytes.
const SESSION_ID_LEN: usize = 16;

/// Public identifier of a session for operators, URLs and logs. The id gives no access to the
/// session.
///
/// The id consists of sixteen bytes of HKDF-SHA-256 (RFC 5869) with the salt `tee-session v1`, the
/// token's canonical text as input key material and the info `session id`. The text form of an id
/// is 22 characters of base64url without padding (RFC 4648, section 5). The token cannot be
/// computed from the id.
///
/// ```
/// use tee_session_domain::{SessionId, SessionToken};
///
/// let token: SessionToken = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".parse()?;
/// assert_eq!(SessionId::of(&token).to_string().len(), 22);
/// # Ok::<(), tee_session_domain::ParseTokenError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; SESSION_ID_LEN]);

impl SessionId {
    /// Length of the text form of a session id in characters.
    pub const TEXT_LEN: usize = TEXT_LEN;

    /// Writes the text form of the id into `buffer` and returns the text. `Display` writes the same
    /// text, but with the overhead of `std::fmt`.
    #[must_use]
    pub fn encode<'a>(&self, buffer: &'a mut [u8; Self::TEXT_LEN]) -> &'a str {
        short_text::encode(&self.0, buffer)
    }

    /// Creates the session id with these sixteen bytes, for example the bytes of
    /// [`as_bytes`](Self::as_bytes) that a store has kept.
    #[must_use]
    pub fn from_bytes(bytes: [u8; SESSION_ID_LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the sixteen bytes of the session id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; SESSION_ID_LEN] {
        &self.0
    }
}

/// Parses the text form of a session id. Accepts only the spelling that `Display` writes.
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

/// Parse error: the text is not a session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a session id must be {TEXT_LEN} characters of base64url")]
pub struct ParseSessionIdError;

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; TEXT_LEN]))
    }
}

/// Shows the text form of the session id.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn session_id_is_parsed_back_from_its_text_form() {
        let id = SessionId([7; SESSION_ID_LEN]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(SessionId::from_bytes(*id.as_bytes()), id);
    }

    #[test]
    fn debug_output_of_a_session_id_shows_its_text_form() {
        let id = SessionId([7; SESSION_ID_LEN]);
        assert_eq!(format!("{id:?}"), "SessionId(BwcHBwcHBwcHBwcHBwcHBw)");
    }

    #[rstest]
    #[case::empty("")]
    #[case::too_short("AAAAAAAAAAAAAAAAAAAAA")]
    #[case::too_long("AAAAAAAAAAAAAAAAAAAAAAA")]
    #[case::far_too_long(&"A".repeat(1_000))]
    #[case::unused_bits_set("AAAAAAAAAAAAAAAAAAAAAB")]
    #[case::another_alphabet("AAAAAAAAAAAAAAAAAAAA+A")]
    #[case::padded("AAAAAAAAAAAAAAAAAAAAAA==")]
    fn malformed_session_id_is_rejected(#[case] text: &str) {
        assert_eq!(text.parse::<SessionId>(), Err(ParseSessionIdError));
    }
}
