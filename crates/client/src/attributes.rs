//! Subject and label of a session, in responses.

use serde::Deserialize;

/// Subject and label of a session. Both are optional, and are set when the session is created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct SessionAttributes {
    /// Subject of the session. `None` if no subject was set.
    pub subject: Option<String>,
    /// Label of the session. `None` if no label was set.
    pub label: Option<String>,
}
