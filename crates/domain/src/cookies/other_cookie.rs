//! Cookies outside the flat map of a session. The flat map (cookie names to values) contains only
//! one cookie of each name.

use std::fmt;

use zeroize::Zeroizing;

use super::attributes::CookieAttributes;

/// A cookie outside the flat map of the session. The flat map contains another cookie with the same
/// name, but with another domain or path.
#[derive(Clone, PartialEq, Eq)]
pub struct OtherCookie {
    /// Name of the cookie.
    pub name: String,
    /// Value of the cookie. The value is a secret, and is wiped from memory on drop.
    pub value: Zeroizing<String>,
    /// Scope and lifetime of the cookie.
    pub attributes: CookieAttributes,
    /// Position of the cookie among all cookies of the session, in the order of their creation,
    /// from 0. The cookies of the flat map have the remaining positions, in the order of the map.
    /// Cookies with paths of the same length are sent in this order (RFC 6265bis, section 5.8.3).
    pub position: usize,
}

impl fmt::Debug for OtherCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OtherCookie([redacted])")
    }
}

/// Attributes of the cookies of a session, and the cookies outside the flat map.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Details {
    /// Attributes of the cookies in the flat map, in the order of the map.
    pub(super) attributes: Vec<Option<CookieAttributes>>,
    pub(super) others: Vec<OtherCookie>,
}

impl Details {
    /// Returns the memory, in bytes, that `attributes` and `others` use.
    pub(super) fn memory_len(&self) -> usize {
        let others = self.others.iter();
        let others =
            others.map(|other| other.name.len() + other.value.len() + other.attributes.text_len());
        let attributes = self.attributes.iter().flatten();
        size_of_val(self.attributes.as_slice())
            + size_of_val(self.others.as_slice())
            + attributes.map(CookieAttributes::text_len).sum::<usize>()
            + others.sum::<usize>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.others.is_empty() && self.attributes.iter().all(Option::is_none)
    }
}
