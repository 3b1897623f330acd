//! Binary form of a session, for adapters of stores that store bytes.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    BaseUrl, ControlCharacter, Cookies, Label, RepositoryError, Session, SessionAttributes,
    Subject, cookies::DetailsForm,
};

/// Version of the binary form that this release writes. The version is the first byte of the form.
const VERSION: u8 = 1;

/// Highest version, and therefore the highest first byte, that a later release may write. Texts
/// such as JSON begin with a higher byte, so a text of another program is not mistaken for the form
/// of a later release.
const LAST_VERSION: u8 = 31;

/// Maximum length of the binary form that is decoded, in bytes. The longest session that a client
/// may store takes less than a tenth of this maximum.
const MAX_LEN: usize = 1024 * 1024;

/// Binary form of version 1, after the version byte, encoded with postcard. Its fields must not
/// change. A later version has another version byte.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    created_at_micros: i64,
    absolute_end_micros: Option<i64>,
    base_url: &'a str,
    #[serde(borrow)]
    cookies: Vec<(&'a str, Option<&'a str>)>,
    #[serde(borrow)]
    subject: Option<&'a str>,
    #[serde(borrow)]
    label: Option<&'a str>,
}

/// Binary form of a session, for adapters of stores that store bytes.
///
/// The first byte is the version of the form, from 1 to 31. A release decodes the forms of all
/// earlier releases. Bytes with another first byte are not the form of any release. Version 1
/// continues with these fields, encoded with
/// [postcard](https://postcard.jamesmunns.com/wire-format):
///
/// - the creation time, in microseconds since the Unix epoch (`i64`)
/// - the end of the absolute lifetime, in microseconds since the Unix epoch (optional `i64`)
/// - the base URL (string)
/// - the cookies (sequence of pairs of a name, a string, and a value, an optional string)
/// - the subject and the label (two optional strings)
/// - only if a cookie has attributes: for each cookie above, its attributes (a sequence of optional
///   values, each with the domain, the host-only flag, the path, the `Secure` flag, and the expiry
///   time as an optional `i64` in microseconds), and a sequence of the cookies that have the same
///   name as a cookie above, but another domain or path (each with name, value, attributes and
///   position)
impl Session {
    /// Encodes the session. The result contains the cookies unencrypted, and its memory is wiped on
    /// drop.
    ///
    /// ```
    /// # use tee_session_domain::time::OffsetDateTime;
    /// use tee_session_domain::{BaseUrl, Cookies, Login, Session};
    ///
    /// # let cookies = Cookies::from_pairs([("SESSIONID", "a1b2c3")])?;
    /// # let login = Login::new(cookies, "https://golf.example".parse()?);
    /// # let session = Session::new(login, OffsetDateTime::UNIX_EPOCH, None);
    /// let bytes = session.to_bytes();
    /// assert_eq!(Session::from_bytes(&bytes)?, session);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "strings and numbers into a Vec cannot fail"
    )]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let content = Content {
            created_at_micros: to_micros(self.created_at),
            absolute_end_micros: self.absolute_end.map(to_micros),
            base_url: self.base_url.as_str(),
            cookies: self.cookies.iter().collect(),
            subject: self.attributes.subject.as_ref().map(Subject::as_str),
            label: self.attributes.label.as_ref().map(Label::as_str),
        };
        // The full capacity is reserved first, because a `Vec` that grows leaves its old memory
        // unwiped. A length, a number or a flag takes at most ten bytes.
        let text = |text: &str| text.len() + 10;
        let cookies = content.cookies.iter();
        let cookies: usize = cookies
            .map(|(name, value)| text(name) + value.map_or(0, text) + 1)
            .sum();
        let attributes = [content.subject, content.label].into_iter().flatten();
        let attributes: usize = attributes.map(text).sum();
        let details = DetailsForm::of(&self.cookies);
        let details_len = details.as_ref().map_or(0, DetailsForm::max_len);
        let len = 64 + text(content.base_url) + cookies + attributes + details_len;
        let mut bytes = Vec::with_capacity(len);
        bytes.push(VERSION);
        let reserved = bytes.capacity();
        let mut encoded = postcard::to_extend(&content, bytes).expect("a session can be encoded");
        if let Some(details) = &details {
            encoded = postcard::to_extend(details, encoded).expect("attributes can be encoded");
        }
        debug_assert!(encoded.capacity() == reserved);
        Zeroizing::new(encoded)
    }

    /// Decodes the result of [`to_bytes`](Self::to_bytes). The bytes may come from another program,
    /// so the session need not meet the rules for sessions that clients send. Only control
    /// characters are rejected.
    ///
    /// # Errors
    /// - [`SessionBytesError::NewerVersion`]: a newer release wrote the bytes.
    /// - [`SessionBytesError::Malformed`], [`SessionBytesError::ControlCharacter`] or
    ///   [`SessionBytesError::TooLong`]: the bytes are not a session.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SessionBytesError> {
        if bytes.len() > MAX_LEN {
            return Err(SessionBytesError::TooLong);
        }
        let content = match bytes {
            [VERSION, content @ ..] => content,
            [version @ ..=LAST_VERSION, ..] if *version > VERSION => {
                return Err(SessionBytesError::NewerVersion { version: *version });
            }
            _ => return Err(SessionBytesError::Malformed),
        };
        let malformed = |_| SessionBytesError::Malformed;
        let (content, rest) =
            postcard::take_from_bytes::<Content<'_>>(content).map_err(malformed)?;
        let cookies = Cookies::from_stored(content.cookies)?;
        let cookies = match rest {
            [] => cookies,
            details => add_details(cookies, details)?,
        };
        Ok(Self {
            cookies,
            base_url: BaseUrl::from_stored(content.base_url)?,
            created_at: from_micros(content.created_at_micros)?,
            absolute_end: content.absolute_end_micros.map(from_micros).transpose()?,
            attributes: SessionAttributes {
                subject: attribute(content.subject, |text| text.parse().ok())?,
                label: attribute(content.label, |text| Label::from_stored(text).ok())?,
            },
        })
    }
}

/// Error for bytes that are not a session.
///
/// An adapter can return this error with `?`: it becomes [`RepositoryError::NewerRecord`] or
/// [`RepositoryError::Corrupt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SessionBytesError {
    /// A newer release wrote the bytes in a version that this release cannot decode.
    #[error("the record has version {version}, and this release reads versions up to {VERSION}")]
    NewerVersion {
        /// Version of the binary form, which is the first of the bytes.
        version: u8,
    },
    /// The bytes are not the binary form of a session.
    #[error("the record is not the binary form of a session")]
    Malformed,
    /// A text of the session contains a control character.
    #[error("a text of the record contains a control character")]
    ControlCharacter,
    /// The bytes are longer than the binary form of any session.
    #[error("the record is longer than {MAX_LEN} bytes")]
    TooLong,
}

impl From<ControlCharacter> for SessionBytesError {
    fn from(_: ControlCharacter) -> Self {
        Self::ControlCharacter
    }
}

impl From<SessionBytesError> for RepositoryError {
    fn from(error: SessionBytesError) -> Self {
        match error {
            SessionBytesError::NewerVersion { .. } => Self::newer_record(error),
            SessionBytesError::Malformed
            | SessionBytesError::ControlCharacter
            | SessionBytesError::TooLong => Self::corrupt(error),
        }
    }
}

/// Decodes the attributes of `cookies`, and further cookies that have the same name as one of
/// `cookies`, but another domain or path. Returns `cookies` with both added.
fn add_details(cookies: Cookies, bytes: &[u8]) -> Result<Cookies, SessionBytesError> {
    let Ok((details, [])) = postcard::take_from_bytes::<DetailsForm<'_>>(bytes) else {
        return Err(SessionBytesError::Malformed);
    };
    let cookies = details.add_to(cookies);
    if cookies.has_details() {
        Ok(cookies)
    } else {
        Err(SessionBytesError::Malformed)
    }
}

/// Parses a subject or a label. If this release does not accept the text, returns `None` instead of
/// an error: a later release may have written the text. Fails only if the text contains a control
/// character.
fn attribute<T>(
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, SessionBytesError> {
    let Some(text) = text else { return Ok(None) };
    ControlCharacter::refuse(text)?;
    Ok(parse(text))
}

fn to_micros(time: OffsetDateTime) -> i64 {
    i64::try_from((time - OffsetDateTime::UNIX_EPOCH).whole_microseconds()).unwrap_or(i64::MAX)
}

/// Converts microseconds since the Unix epoch to a time between the years 0 and 9999. RFC 3339
/// cannot express other years.
fn from_micros(micros: i64) -> Result<OffsetDateTime, SessionBytesError> {
    let time = OffsetDateTime::UNIX_EPOCH.checked_add(time::Duration::microseconds(micros));
    time.filter(|time| (0..10_000).contains(&time.year()))
        .ok_or(SessionBytesError::Malformed)
}

#[cfg(test)]
mod tests;
