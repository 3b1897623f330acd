//! Attributes of a session: its owner (subject) and its display name in lists (label).

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// Optional attributes that the client gives when it creates a session.
///
/// ```
/// use tee_session_domain::SessionAttributes;
///
/// let attributes = SessionAttributes {
///     label: Some("tablet".parse()?),
///     ..SessionAttributes::of_subject("member-4711".parse()?)
/// };
/// assert_eq!(attributes.text_len(), 17);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionAttributes {
    /// Owner of the session. All sessions of a subject can be listed and revoked together.
    pub subject: Option<Subject>,
    /// Display name of the session in lists.
    pub label: Option<Label>,
}

impl SessionAttributes {
    /// Creates the attributes of a session that belongs to `subject` and has no other attribute.
    #[must_use]
    pub fn of_subject(subject: Subject) -> Self {
        Self {
            subject: Some(subject),
            ..Self::default()
        }
    }

    /// Returns the total length of the subject and the label in bytes.
    #[must_use]
    pub fn text_len(&self) -> usize {
        let Self { subject, label } = self;
        let subject = subject.as_ref().map_or(0, |subject| subject.as_str().len());
        let label = label.as_ref().map_or(0, |label| label.as_str().len());
        subject + label
    }
}

/// Owner of a session: an opaque name, such as a user id, that a service client gives when it
/// creates the session. All sessions of a subject can be listed and revoked together.
///
/// A subject is any text of 1 to 256 bytes without control characters. Characters that can reverse
/// the displayed order of a text (U+202A to U+202E and U+2066 to U+2069) are also forbidden.
/// Otherwise, a subject could look like another subject in a list. Subjects are compared byte for
/// byte, without Unicode normalization. A subject may identify a person, so `Debug` does not show
/// its text.
///
/// ```
/// use tee_session_domain::Subject;
///
/// let subject: Subject = "member-4711".parse()?;
/// assert_eq!(subject.as_str(), "member-4711");
/// assert!("Jörg Müller".parse::<Subject>().is_ok());
/// assert!("two\nlines".parse::<Subject>().is_err());
/// # Ok::<(), tee_session_domain::InvalidSubject>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    /// Maximum length of a subject in bytes.
    pub const MAX_LEN: usize = MAX_TEXT_LEN;

    /// Returns the text of the subject.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns `true` if the subject consists of visible ASCII characters only. Such a subject can
    /// be used unchanged in a header field.
    #[must_use]
    pub fn is_visible_ascii(&self) -> bool {
        self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_displayable(text) && !reverses_display(text) {
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

/// Parse error: the text is not a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a subject must be 1 to {} bytes long, and must not contain control characters or characters \
     that reverse the order of display (U+202A to U+202E, U+2066 to U+2069)",
    Subject::MAX_LEN
)]
pub struct InvalidSubject;

/// Display name of a session in lists, such as the name of a device. A label is 1 to 256 bytes long
/// and contains no control characters. In a new label, characters that can reverse the displayed
/// order of a text (U+202A to U+202E and U+2066 to U+2069) are also forbidden. A label may contain
/// personal data, so `Debug` does not show its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Label(Arc<str>);

impl Label {
    /// Maximum length of a label in bytes.
    pub const MAX_LEN: usize = MAX_TEXT_LEN;

    /// Accepts the label of a stored session. Older releases accepted labels with characters
    /// that reverse the order of display.
    ///
    /// # Errors
    /// Fails if the text is empty, longer than [`MAX_LEN`](Self::MAX_LEN) bytes, or contains a
    /// control character.
    pub fn from_stored(text: &str) -> Result<Self, InvalidLabel> {
        if is_displayable(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidLabel)
        }
    }

    /// Returns the text of the label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = InvalidLabel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if reverses_display(text) {
            return Err(InvalidLabel);
        }
        Self::from_stored(text)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Label([redacted])")
    }
}

/// Parse error: the text is not a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a label must be 1 to {} bytes long, and must not contain control characters or characters \
     that reverse the order of display (U+202A to U+202E, U+2066 to U+2069)",
    Label::MAX_LEN
)]
pub struct InvalidLabel;

/// Maximum length of the text of a subject or a label, in bytes.
const MAX_TEXT_LEN: usize = 256;

fn is_displayable(text: &str) -> bool {
    (1..=MAX_TEXT_LEN).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Returns `true` if `text` contains a character of the Unicode Bidirectional Algorithm that opens
/// or closes an embedding, an override or an isolate. With such characters, a text can be displayed
/// as another text.
fn reverses_display(text: &str) -> bool {
    text.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

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
    #[case::space("a b", true)]
    #[case::unicode("jörg 日本 😀", true)]
    #[case::longest_unicode(&"ö".repeat(128), true)]
    #[case::too_long_unicode(&"ö".repeat(129), false)]
    #[case::control("a\r\nb", false)]
    #[case::next_line("a\u{85}b", false)]
    #[case::reversed_display("a\u{202e}b", false)]
    #[case::isolate("a\u{2067}b", false)]
    #[case::left_to_right_mark("a\u{200e}b", true)]
    fn subject_must_be_1_to_256_bytes_without_control_or_display_reversing_characters(
        #[case] text: &str,
        #[case] is_valid: bool,
    ) {
        let subject = text.parse::<Subject>();
        let expected = if is_valid {
            Ok(text)
        } else {
            Err(InvalidSubject)
        };
        assert_eq!(
            subject
                .as_ref()
                .map(Subject::as_str)
                .map_err(|error| *error),
            expected
        );
    }

    #[rstest]
    #[case::unicode("Jörgs Telefon", true)]
    #[case::longest(&"ö".repeat(128), true)]
    #[case::empty("", false)]
    #[case::too_long(&"ö".repeat(129), false)]
    #[case::control("a\u{85}b", false)]
    #[case::reversed_display("a\u{202e}b", false)]
    #[case::isolate("a\u{2069}b", false)]
    fn label_must_be_1_to_256_bytes_without_control_or_display_reversing_characters(
        #[case] text: &str,
        #[case] is_valid: bool,
    ) {
        let label = text.parse::<Label>();
        let expected = if is_valid {
            Ok(text)
        } else {
            Err(InvalidLabel)
        };
        assert_eq!(
            label.as_ref().map(Label::as_str).map_err(|error| *error),
            expected
        );
    }

    #[test]
    fn text_length_of_attributes_is_the_sum_of_both_texts_in_bytes() {
        let subject: Subject = "alice".parse().unwrap();
        let attributes = SessionAttributes::of_subject(subject);
        assert_eq!(attributes.text_len(), 5);
        let label = Some("ö".parse().unwrap());
        assert_eq!(
            SessionAttributes {
                label,
                ..attributes
            }
            .text_len(),
            7
        );
        assert_eq!(SessionAttributes::default().text_len(), 0);
    }

    #[test]
    fn stored_label_with_display_reversing_characters_is_accepted() {
        assert_eq!(
            Label::from_stored("a\u{202e}b").unwrap().as_str(),
            "a\u{202e}b"
        );
        assert!(Label::from_stored("a\nb").is_err());
        assert!(Label::from_stored(&"a".repeat(257)).is_err());
    }

    #[test]
    fn debug_output_of_subject_and_label_is_redacted() {
        let (subject, label): (Subject, Label) =
            ("s3cret".parse().unwrap(), "s3cret".parse().unwrap());
        assert_eq!(
            format!("{subject:?} {label:?}"),
            "Subject([redacted]) Label([redacted])"
        );
    }
}
