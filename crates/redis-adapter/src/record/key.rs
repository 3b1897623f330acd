//! Redis keys of this crate, and the prefix that the keys of all session records have.

use std::fmt::{self, Write};

use arrayvec::ArrayString;

/// Prefix of the Redis keys of all session records.
pub(crate) const KEY_PREFIX: &str = "session:";

/// A Redis key. The text of a key is short and is created for each call, so it is stored inline,
/// without heap allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(ArrayString<MAX_KEY_LEN>);

/// Maximum length of a Redis key of this crate, in bytes. The longest key consists of
/// [`KEY_PREFIX`] and a token of the longest kind (43 characters).
pub(crate) const MAX_KEY_LEN: usize = KEY_PREFIX.len() + 43;

/// Hides the text of the key in `Debug` output, because the text may contain a token.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Returns the key that consists of [`KEY_PREFIX`] and `name`.
    ///
    /// # Panics
    /// Panics if `name` is longer than 43 characters, the length of the longest kind of token.
    pub(crate) fn named(name: impl fmt::Display) -> Self {
        Self::spelled(format_args!("{KEY_PREFIX}{name}"))
    }

    pub(super) fn spelled(text: fmt::Arguments<'_>) -> Self {
        let mut key = ArrayString::new();
        #[expect(clippy::expect_used, reason = "tokens, ids and probe names fit")]
        key.write_fmt(text)
            .expect("the name is no longer than a token");
        Self(key)
    }

    /// Parses the Redis key of a session record. Returns `None` if `text` does not begin with
    /// [`KEY_PREFIX`] or is too long.
    pub(crate) fn of_record(text: &str) -> Option<Self> {
        let key = ArrayString::from(text).ok().map(Self);
        key.filter(|_| text.starts_with(KEY_PREFIX))
    }

    /// Returns the key as text. The key of a plain record contains a token, so the text of a
    /// record's key must not be logged.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
