//! Entity tag of a session: a value that changes when the cookies or the base URL change.

use std::fmt;

use crate::short_text::{self, TEXT_LEN};

/// Length of an entity tag in bytes.
pub(crate) const TAG_LEN: usize = 16;

/// Strong validator for the changeable state of a session (RFC 9110, section 8.8.3).
///
/// The tag covers the cookies in the flat map (name and value of one cookie of each name), the base
/// URL and the creation time of the session. Two states of one session have the same tag only if
/// all of these are equal. The tag does not cover the time at which the session ends.
///
/// The tag consists of sixteen bytes of HMAC-SHA-256 under a key derived from the token. Without
/// the token, the tag therefore reveals nothing about the cookies. `Display` writes the tag in
/// base64url, without the quotation marks that a header field needs.
///
/// ```
/// use time::OffsetDateTime;
/// use tee_session_domain::{BaseUrl, Cookies, EntityTag, Login, Session, SessionToken};
///
/// let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())])?;
/// let login = Login::new(cookies, BaseUrl::new("https://golf.example")?);
/// let session = Session::new(login, OffsetDateTime::UNIX_EPOCH, None);
/// let token = SessionToken::generate();
/// assert_eq!(EntityTag::of(&token, &session), EntityTag::of(&token, &session));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag([u8; TAG_LEN]);

impl EntityTag {
    /// Length of the text form of an entity tag in characters.
    pub const TEXT_LEN: usize = TEXT_LEN;

    /// Writes the text form of the tag into `buffer` and returns the text. `Display` writes the
    /// same text, but with the overhead of `std::fmt`.
    #[must_use]
    pub fn encode<'a>(&self, buffer: &'a mut [u8; Self::TEXT_LEN]) -> &'a str {
        short_text::encode(&self.0, buffer)
    }

    /// Returns the tag that consists of these sixteen bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the sixteen bytes of the tag.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; TEXT_LEN]))
    }
}
