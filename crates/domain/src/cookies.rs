//! Cookies of the upstream site, which give access to the accounts of its users.

mod acceptance;
mod attributes;
mod cached_tag;
mod cookie_date;
mod cookie_url;
mod details_form;
mod from_pairs;
mod header;
mod ignored_line;
mod jar;
mod matching;
mod merge;
mod other_cookie;
mod projection;
mod rules;
mod set_cookie;
mod set_cookie_lines;
mod site_cookies;

use std::{
    fmt, iter,
    sync::{Arc, OnceLock},
};

use indexmap::{IndexMap, map};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use self::jar::Jar;
pub use self::{
    attributes::CookieAttributes,
    cookie_date::parse_cookie_date,
    cookie_url::CookieUrl,
    header::UnsendableCookie,
    ignored_line::{IgnoreReason, IgnoredLine},
    other_cookie::OtherCookie,
    rules::{CookieProblem, CookieRule, CookiesError},
    set_cookie_lines::SetCookieLines,
    site_cookies::MergedCookies,
};
pub(crate) use self::{cached_tag::CachedTag, details_form::DetailsForm, rules::Usage};
use crate::error::ControlCharacter;

/// Cookies of an authenticated session on the upstream site.
///
/// The *flat map* maps cookie names to values, in the order given. If the site sets several cookies
/// of one name, with different domains or paths, the flat map contains one of them, and
/// [`others`](Self::others) returns the rest.
///
/// Names and values are those that a browser stores (RFC 6265bis, section 5), and are kept byte for
/// byte. A name may be empty, and may contain spaces and brackets. A value may contain any
/// characters except control characters; TAB is allowed. A cookie may also have no value at all.
/// Cookie jars distinguish such a cookie from a cookie with an empty value. A session may have no
/// cookies. [`CookieRule`] lists all rules.
///
/// Values are secrets: there is no `Display`, `Debug` shows only the number of cookies, and the
/// memory is wiped when the last clone is dropped. Clones share the memory.
///
/// ```
/// use tee_session_domain::Cookies;
///
/// let cookies = Cookies::new([
///     ("SESSIONID".to_owned(), Some("a1b2c3".to_owned())),
///     ("gdpr[allowed]".to_owned(), None),
/// ])?;
/// assert_eq!(cookies.get("SESSIONID"), Some("a1b2c3"));
/// assert_eq!(cookies.iter().nth(1), Some(("gdpr[allowed]", None)));
/// assert_eq!(format!("{cookies:?}"), "Cookies(2 redacted)");
/// # Ok::<(), tee_session_domain::CookiesError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Cookies(Arc<Jar>);

impl Cookies {
    /// Maximum number of cookies in a session: 180, as many as browsers store for one site.
    pub const MAX_COUNT: usize = rules::MAX_COUNT;
    /// Maximum length of the name and the value of one cookie together: 8192 bytes.
    pub const MAX_LEN: usize = rules::MAX_LEN;
    /// Maximum length of all cookie names and values together: 32 KiB.
    pub const MAX_TOTAL_LEN: usize = rules::MAX_TOTAL_LEN;
    /// Maximum length of the domains and paths of all cookies together: 16 KiB.
    pub const MAX_ATTRIBUTES_LEN: usize = rules::MAX_ATTRIBUTES_LEN;

    /// Validates cookies that a client sends. A value is a `String`, or an `Option<String>` that is
    /// `None` for a cookie without a value.
    ///
    /// # Errors
    /// Fails if a cookie breaks a rule, and names every such cookie. To leave these cookies out
    /// instead, use [`keep_valid`](Self::keep_valid).
    pub fn new<V: Into<Option<String>>>(
        cookies: impl IntoIterator<Item = (String, V)>,
    ) -> Result<Self, CookiesError> {
        match Self::keep_valid(cookies) {
            (cookies, problems) if problems.is_empty() => Ok(cookies),
            (_, problems) => Err(CookiesError { problems }),
        }
    }

    /// Keeps each cookie that a session can hold, in the order given. Leaves out each cookie that
    /// breaks a rule, or for which the session has no room left. A later, shorter cookie may still
    /// fit. Returns the kept cookies, and the other cookies with the rules that they break.
    ///
    /// ```
    /// use tee_session_domain::{CookieRule, Cookies};
    ///
    /// let given = [("a", "1"), ("b", "line\nfeed")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    /// let (cookies, ignored) = Cookies::keep_valid(given);
    /// assert_eq!(cookies.len(), 1);
    /// assert_eq!(ignored[0].rule, CookieRule::Value);
    /// ```
    pub fn keep_valid<V: Into<Option<String>>>(
        cookies: impl IntoIterator<Item = (String, V)>,
    ) -> (Self, Vec<CookieProblem>) {
        let mut kept = IndexMap::new();
        let mut problems = Vec::new();
        let mut usage = Usage::default();
        for (name, value) in cookies {
            let value = value.into().map(Zeroizing::new);
            let text = value.as_deref().map(String::as_str);
            let checked = Self::check(&name, text);
            match kept.entry(name) {
                map::Entry::Vacant(entry) => {
                    let added =
                        checked.and_then(|()| usage.add(entry.key(), text, &Usage::default()));
                    match added {
                        Ok(()) => {
                            entry.insert(value);
                        }
                        Err(rule) => problems.push(CookieProblem {
                            cookie: entry.into_key(),
                            rule,
                        }),
                    }
                }
                map::Entry::Occupied(entry) => problems.push(CookieProblem {
                    cookie: entry.key().clone(),
                    rule: CookieRule::Unique,
                }),
            }
        }
        let kept = kept.iter().map(|(name, value)| (name, value.as_ref()));
        (Self(Arc::new(Jar::new(kept))), problems)
    }

    /// Checks the rules that concern a single cookie. `value` is `None` for a cookie without a
    /// value.
    ///
    /// # Errors
    /// Returns the first rule that the cookie breaks.
    pub fn check(name: &str, value: Option<&str>) -> Result<(), CookieRule> {
        rules::check(name, value)
    }

    /// Accepts the cookies of a stored record. Another program may have written the record, so the
    /// cookies may break the rules for new cookies. Only the control characters that browsers
    /// refuse are rejected, because they could start a new line in a header. If a name is repeated,
    /// its last value is used. A value is `None` for a cookie without a value.
    ///
    /// # Errors
    /// Fails if a name or a value contains such a control character.
    pub fn from_stored<N, V, I>(cookies: I) -> Result<Self, ControlCharacter>
    where
        N: AsRef<str>,
        V: AsRef<str>,
        I: IntoIterator<Item = (N, Option<V>), IntoIter: ExactSizeIterator + Clone>,
    {
        let cookies = cookies.into_iter();
        let has_control = |(name, value): (N, Option<V>)| {
            rules::has_control(name.as_ref())
                || value.is_some_and(|value| rules::has_control(value.as_ref()))
        };
        if cookies.clone().any(has_control) {
            return Err(ControlCharacter);
        }
        let jar = if are_distinct(cookies.clone().map(|(name, _)| name)) {
            Jar::new(cookies)
        } else {
            let mut last_values = IndexMap::new();
            for (name, value) in cookies {
                last_values.insert(name.as_ref().to_owned(), value);
            }
            Jar::new(
                last_values
                    .iter()
                    .map(|(name, value)| (name, value.as_ref())),
            )
        };
        Ok(Self(Arc::new(jar)))
    }

    /// Returns the value of the cookie `name` in the flat map. Returns `None` if there is no such
    /// cookie, or if the cookie has no value. Names are case-sensitive.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut cookies = self.iter();
        cookies.find_map(|(known, value)| value.filter(|_| known == name))
    }

    /// Returns an iterator over the cookies in the flat map, as pairs of name and value, in their
    /// order. The value is `None` for a cookie without a value.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Option<&str>)> + Clone {
        self.0.iter()
    }

    /// Returns the names and values in the flat map, each followed by a NUL, as input for the
    /// entity tag. A cookie without a value has a marker in the place of the value, so that it
    /// differs from a cookie with an empty value.
    pub(crate) fn nul_terminated(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns `true` if other clones share the memory of these cookies.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Returns the cell in which the entity tag of a session with these cookies is cached. All
    /// clones of the cookies share the cell.
    pub(crate) fn cached_tag(&self) -> &OnceLock<CachedTag> {
        self.0.cached_tag()
    }

    /// Returns the number of cookies in the flat map.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Returns `true` if there are no cookies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Returns an empty set of cookies.
impl Default for Cookies {
    fn default() -> Self {
        Self(Arc::new(Jar::new(iter::empty::<(&str, Option<&str>)>())))
    }
}

impl ZeroizeOnDrop for Cookies {}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookies({} redacted)", self.len())
    }
}

/// Maximum number of names that [`are_distinct`] compares.
const MAX_COMPARED: usize = 50;

/// Returns `true` if there are at most [`MAX_COMPARED`] names and all names differ. The names are
/// compared pairwise, which would be slow for more names. If the result is `false`, the caller
/// removes duplicates with a hash table.
fn are_distinct(names: impl ExactSizeIterator<Item: AsRef<str>> + Clone) -> bool {
    names.len() <= MAX_COMPARED
        && (names.clone().enumerate()).all(|(index, name)| {
            let mut earlier = names.clone().take(index);
            earlier.all(|earlier| earlier.as_ref() != name.as_ref())
        })
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod merge_tests;

#[cfg(test)]
mod base_url_change_tests;

#[cfg(test)]
mod merge_limit_tests;

#[cfg(test)]
mod model_tests;
