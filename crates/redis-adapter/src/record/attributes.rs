//! Attributes of a session (subject and label), in the form that records and index entries contain.

use serde::{Deserialize, Serialize};
use tee_session_domain::{Label, SessionAttributes, Subject};

use crate::CorruptRecord;

/// Subject and label of a session as texts. A sealed (encrypted) record contains this struct,
/// encoded with postcard, so its fields must not change. A later release must encode a new
/// attribute after this struct.
#[derive(Default, PartialEq, Serialize, Deserialize)]
pub(super) struct AttributeTexts<'a> {
    #[serde(borrow)]
    pub(super) subject: Option<&'a str>,
    #[serde(borrow)]
    pub(super) label: Option<&'a str>,
}

impl<'a> AttributeTexts<'a> {
    pub(super) fn of(attributes: &'a SessionAttributes) -> Self {
        Self {
            subject: attributes.subject.as_ref().map(Subject::as_str),
            label: attributes.label.as_ref().map(Label::as_str),
        }
    }

    pub(super) fn parse(self) -> Result<SessionAttributes, CorruptRecord> {
        Ok(SessionAttributes {
            subject: read_leniently(self.subject, |text| text.parse().ok())?,
            label: read_leniently(self.label, |text| Label::from_stored(text).ok())?,
        })
    }
}

/// Parses an attribute. Returns `None` if there is no text. Also returns `None` if this release
/// does not accept the text, because a later release may have written such a text. Returns an error
/// if the text contains a control character.
fn read_leniently<T>(
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, CorruptRecord> {
    match text {
        Some(text) if text.chars().any(char::is_control) => Err(CorruptRecord::ControlCharacter),
        text => Ok(text.and_then(parse)),
    }
}

/// Attributes of a session in an entry of the subject index, as JSON members. The subject is left
/// out, because each subject has a separate index.
#[derive(Serialize, Deserialize)]
pub(super) struct IndexedAttributes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

impl IndexedAttributes {
    pub(super) fn of(attributes: &SessionAttributes) -> Self {
        let label = attributes.label.as_ref();
        Self {
            label: label.map(|label| label.as_str().to_owned()),
        }
    }

    pub(super) fn of_subject(&self, subject: &Subject) -> SessionAttributes {
        SessionAttributes {
            subject: Some(subject.clone()),
            label: (self.label.as_deref()).and_then(|text| Label::from_stored(text).ok()),
        }
    }
}
