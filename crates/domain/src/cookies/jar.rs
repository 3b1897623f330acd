//! Cookies in one piece of memory.

use std::sync::OnceLock;

use memchr::memchr;
use zeroize::Zeroize;

use crate::entity_tag::KeptTag;

/// Ends each name and each value. It is a control character, which neither may hold.
const END: char = '\0';

/// Names and values one after the other, in one text: a session is read, shared and wiped as one
/// piece. The text is wiped when it is dropped.
pub(super) struct Jar {
    text: String,
    cookies: usize,
    kept_tag: OnceLock<KeptTag>,
}

impl PartialEq for Jar {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Jar {}

impl Jar {
    /// Takes cookies without control characters.
    pub(super) fn new<N, V, I>(cookies: I) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
        I: IntoIterator<Item = (N, V), IntoIter: Clone>,
    {
        let cookies = cookies.into_iter();
        let len = |(name, value): (N, V)| name.as_ref().len() + value.as_ref().len() + 2;
        // A text that had to grow would leave copies of itself behind.
        let mut jar = Self {
            text: String::with_capacity(cookies.clone().map(len).sum()),
            cookies: 0,
            kept_tag: OnceLock::new(),
        };
        for (name, value) in cookies {
            for part in [name.as_ref(), value.as_ref()] {
                jar.text.push_str(part);
                jar.text.push(END);
            }
            jar.cookies += 1;
        }
        jar
    }

    /// The whole text.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    pub(super) fn kept_tag(&self) -> &OnceLock<KeptTag> {
        &self.kept_tag
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let mut rest = self.text.as_str();
        let mut part = move || {
            let end = memchr(END as u8, rest.as_bytes()).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            part
        };
        (0..self.cookies).map(move |_| (part(), part()))
    }
}

impl Drop for Jar {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}
