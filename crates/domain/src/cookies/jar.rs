//! Storage of the cookies of a session: one text with the names and values in the flat map, and,
//! apart from it, the attributes and the cookies outside the flat map.

use std::sync::OnceLock;

use memchr::memchr;
use zeroize::Zeroize;

use super::{cached_tag::CachedTag, other_cookie::Details};

/// Terminator after each name and each value. NUL is a control character, so it cannot occur in
/// names and values.
const END: char = '\0';

/// Marks a cookie without a value: this text is stored in the place of the value. It is a control
/// character that values cannot contain, so every value differs from it.
const NO_VALUE: &str = "\u{1}";

/// Cookies of a session. The names and values in the flat map are stored one after the other in one
/// text, so that they can be loaded, shared and wiped together. The memory of the text is wiped on
/// drop.
pub(super) struct Jar {
    text: String,
    cookies: usize,
    /// Attributes of the cookies, and the cookies outside the flat map. `None` if there are neither
    /// attributes nor such cookies, as in most sessions.
    details: Option<Box<Details>>,
    cached_tag: OnceLock<CachedTag>,
}

impl PartialEq for Jar {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.details == other.details
    }
}

impl Eq for Jar {}

impl Jar {
    /// Stores the names and values of `cookies` in one text. Names and values must not contain
    /// control characters other than TAB.
    pub(super) fn new<N, V, I>(cookies: I) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
        I: IntoIterator<Item = (N, Option<V>), IntoIter: Clone>,
    {
        let cookies = cookies.into_iter();
        let len = |(name, value): (N, Option<V>)| {
            let value = value.as_ref().map_or(NO_VALUE, AsRef::as_ref);
            name.as_ref().len() + value.len() + 2
        };
        // The full capacity is reserved first. A text that grows would be moved, and its old memory
        // would not be wiped.
        let mut jar = Self {
            text: String::with_capacity(cookies.clone().map(len).sum()),
            cookies: 0,
            details: None,
            cached_tag: OnceLock::new(),
        };
        for (name, value) in cookies {
            let value = value.as_ref().map_or(NO_VALUE, AsRef::as_ref);
            for part in [name.as_ref(), value] {
                jar.text.push_str(part);
                jar.text.push(END);
            }
            jar.cookies += 1;
        }
        jar
    }

    /// Sets the attributes of the cookies, and the cookies outside the flat map.
    pub(super) fn set_details(&mut self, details: Details) {
        self.details = (!details.is_empty()).then(|| Box::new(details));
    }

    pub(super) fn details(&self) -> Option<&Details> {
        self.details.as_deref()
    }

    /// Returns the bytes of all names and values, including the terminators.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    pub(super) fn cached_tag(&self) -> &OnceLock<CachedTag> {
        &self.cached_tag
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Option<&str>)> + Clone {
        let mut rest = self.text.as_str();
        let mut part = move || {
            let end = memchr(END as u8, rest.as_bytes()).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            part
        };
        (0..self.cookies).map(move |_| {
            let (name, value) = (part(), part());
            (name, Some(value).filter(|value| *value != NO_VALUE))
        })
    }
}

impl Drop for Jar {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}
