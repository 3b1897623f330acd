//! Whose session it is, and what it is called: what a service client says of a login.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// Whose session it is: an opaque name that a service client gives, such as a user's id. All
/// sessions of a subject can be listed and revoked together.
///
/// It is 1 to 256 visible ASCII characters, so that it can stand in a header field as it is. It may
/// name a person: `Debug` does not show it.
///
/// ```
/// use tee_session_domain::Subject;
///
/// let subject: Subject = "member-4711".parse()?;
/// assert_eq!(subject.as_str(), "member-4711");
/// assert!("two words".parse::<Subject>().is_err());
/// # Ok::<(), tee_session_domain::InvalidSubject>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    /// Most characters of a subject.
    pub const MAX_LEN: usize = 256;

    /// The subject's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_visible = |byte: u8| byte.is_ascii_graphic();
        if (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(is_visible) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidSubject)
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject([redacted])")
    }
}

/// The text is no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a subject is 1 to {} visible ASCII characters", Subject::MAX_LEN)]
pub struct InvalidSubject;

/// What a session is called in a list of its subject's sessions, such as the name of a device: 1 to
/// 256 bytes without control characters. It may tell of a person: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Label(Arc<str>);

impl Label {
    /// Most bytes of a label.
    pub const MAX_LEN: usize = 256;

    /// The label's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if (1..=Self::MAX_LEN).contains(&text.len()) && !text.chars().any(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidLabel)
        }
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Label([redacted])")
    }
}

/// The text is no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a label is 1 to {} bytes without control characters", Label::MAX_LEN)]
pub struct InvalidLabel;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::one_character("a", true)]
    #[case::punctuation("auth0|4711@golf.example", true)]
    #[case::longest(&"a".repeat(256), true)]
    #[case::empty("", false)]
    #[case::too_long(&"a".repeat(257), false)]
    #[case::space("a b", false)]
    #[case::control("a\r\nb", false)]
    #[case::unicode("jörg", false)]
    fn a_subject_is_visible_ascii(#[case] text: &str, #[case] is_subject: bool) {
        assert_eq!(text.parse::<Subject>().is_ok(), is_subject);
    }

    #[rstest]
    #[case::unicode("Jörgs Telefon", true)]
    #[case::longest(&"ö".repeat(128), true)]
    #[case::empty("", false)]
    #[case::too_long(&"ö".repeat(129), false)]
    #[case::control("a\u{85}b", false)]
    fn a_label_is_text_without_control_characters(#[case] text: &str, #[case] is_label: bool) {
        assert_eq!(text.parse::<Label>().is_ok(), is_label);
    }

    #[test]
    fn debug_shows_neither() {
        let (subject, label): (Subject, Label) =
            ("s3cret".parse().unwrap(), "s3cret".parse().unwrap());
        assert_eq!(
            format!("{subject:?} {label:?}"),
            "Subject([redacted]) Label([redacted])"
        );
    }
}
