//! Optional attributes of a session, in requests and in responses.

use serde::{Deserialize, Serialize};

use crate::CreateSession;

/// Optional attributes of a session, which were set when the session was created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct SessionAttributes {
    /// Subject of the session. `None` if no subject was set.
    pub subject: Option<String>,
    /// Label of the session. `None` if no label was set.
    pub label: Option<String>,
}

/// Attributes of a session to be created, as members of the request body.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct NewAttributes<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

impl<'a> CreateSession<'a> {
    /// Sets the subject of the session: the user or account to which the session belongs. A subject
    /// consists of 1 to 256 visible ASCII characters. All sessions of a subject can be listed and
    /// ended together.
    pub fn subject(mut self, subject: &'a str) -> Self {
        self.body.attributes.subject = Some(subject);
        self
    }

    /// Sets the label of the session: a text by which people recognise the session in a list. A
    /// label consists of 1 to 256 bytes without control characters.
    pub fn label(mut self, label: &'a str) -> Self {
        self.body.attributes.label = Some(label);
        self
    }
}
