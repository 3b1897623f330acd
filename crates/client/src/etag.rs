//! Entity tags (`ETag`) of sessions.

use std::str::FromStr;

use thiserror::Error;

/// Entity tag of a session's state (RFC 9110, section 8.8.3). The entity tag changes with each
/// change of the session. An entity tag is not secret.
///
/// ```
/// use tee_session_client::ETag;
///
/// let etag: ETag = r#""j_2qi1vxH8YfgWR4eH1LDg""#.parse()?;
/// assert_eq!(etag.as_str(), r#""j_2qi1vxH8YfgWR4eH1LDg""#);
/// # Ok::<(), tee_session_client::ParseETagError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(String);

impl ETag {
    /// Returns the entity tag with its quotes, in the form that header fields contain.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ETag {
    type Err = ParseETagError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let quoted = text.strip_prefix("W/").unwrap_or(text);
        let opaque = quoted
            .strip_prefix('"')
            .and_then(|tag| tag.strip_suffix('"'));
        let is_tag = |tag: &str| tag.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
        match opaque {
            Some(tag) if is_tag(tag) => Ok(Self(text.to_owned())),
            _ => Err(ParseETagError),
        }
    }
}

/// Parse error: the text is not an entity tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an entity tag must be visible ASCII characters in double quotes")]
pub struct ParseETagError;
