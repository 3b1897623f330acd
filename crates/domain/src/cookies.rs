//! Cookies of the upstream site, which give access to the accounts of its users.

mod acceptance;
mod attributes;
mod cached_tag;
mod cookie_date;
mod cookie_url;
mod from_pairs;
mod header;
mod ignored_line;
mod jar;
mod matching;
mod merge;
mod other_cookie;
mod rules;
mod set_cookie;

use std::{
    borrow::Cow,
    fmt, iter,
    sync::{Arc, OnceLock},
};

use indexmap::{IndexMap, map};
use time::OffsetDateTime;
use zeroize::{ZeroizeOnDrop, Zeroizing};

pub use self::{
    attributes::CookieAttributes,
    cookie_date::parse_cookie_date,
    cookie_url::CookieUrl,
    header::UnsendableCookie,
    ignored_line::{IgnoreReason, IgnoredLine},
    merge::SetCookieLines,
    other_cookie::OtherCookie,
    rules::{CookieProblem, CookieRule, CookiesError},
};
pub(crate) use self::{cached_tag::CachedTag, rules::Usage};
use self::{
    jar::Jar,
    merge::{Entry, Merge},
    other_cookie::Details,
};
use crate::{BaseUrl, error::ControlCharacter};

/// Cookies of an authenticated session on the upstream site: names and values, in the order given.
///
/// Names and values are those that a browser stores (RFC 6265bis, section 5), and are kept byte for
/// byte. A name may be empty, and may contain spaces and brackets. A value may contain any
/// characters except control characters; TAB is allowed. A cookie may also have no value at all,
/// which cookie jars distinguish from an empty value. A set may be empty. [`CookieRule`] lists all
/// rules.
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

    /// Keeps the cookies that a session can hold, and leaves out each cookie that breaks a rule.
    /// The cookies are added in their order, so that a cookie is left out if the session has no
    /// room left for it. Returns the kept cookies, and the other cookies with their rules.
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
    /// cookies need not be valid. Only the control characters that browsers refuse are rejected,
    /// because they could start a new line in a header. If a name is repeated, its last value is
    /// used. A value is `None` for a cookie without a value.
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

    /// Adds the attributes and the other cookies of a stored record. `attributes` has one entry for
    /// each cookie of the flat map, in its order. If the number of entries differs, or if a text
    /// contains a control character, returns the cookies without the additional data.
    #[must_use]
    pub fn with_details(
        self,
        attributes: Vec<Option<CookieAttributes>>,
        others: Vec<OtherCookie>,
    ) -> Self {
        let is_valid = |own: &CookieAttributes| {
            !rules::has_control(&own.domain) && !rules::has_control(&own.path)
        };
        let is_valid_other = |other: &OtherCookie| {
            !rules::has_control(&other.name)
                && !rules::has_control(&other.value)
                && is_valid(&other.attributes)
        };
        if attributes.len() != self.len()
            || !attributes.iter().flatten().all(is_valid)
            || !others.iter().all(is_valid_other)
        {
            return self;
        }
        let details = Details { attributes, others };
        Self(Arc::new(Jar::new(self.iter()).with_details(details)))
    }

    /// Returns the cookies of the flat map with their attributes. A cookie without attributes was
    /// not set by a `Set-Cookie` line.
    pub fn with_attributes(
        &self,
    ) -> impl Iterator<Item = (&str, Option<&str>, Option<&CookieAttributes>)> {
        let attributes = self
            .0
            .details()
            .map(|details| details.attributes.as_slice());
        let attributes = attributes.unwrap_or_default();
        let cookies = self.iter().enumerate();
        cookies.map(|(index, (name, value))| {
            (name, value, attributes.get(index).and_then(Option::as_ref))
        })
    }

    /// Returns the cookies that the flat map does not contain, because it contains another cookie
    /// of the same name.
    #[must_use]
    pub fn others(&self) -> &[OtherCookie] {
        self.0.details().map_or(&[], |details| &details.others)
    }

    /// Returns `true` if at least one cookie has attributes.
    #[must_use]
    pub fn has_details(&self) -> bool {
        self.0.details().is_some()
    }

    /// Returns the value of the header field `Cookie` for a request to `url`, as browsers compute
    /// it (RFC 6265bis, section 5.8.3), or `None` if the request carries no cookie. `base_url` is
    /// the base URL of the session, and `now` the current time. A cookie without attributes is sent
    /// to each path of the host of `base_url`.
    ///
    /// # Errors
    /// Fails if the value of a cookie contains `;`, because the site would read the rest of the
    /// value as another cookie.
    pub fn header_for(
        &self,
        url: &CookieUrl,
        base_url: &BaseUrl,
        now: OffsetDateTime,
    ) -> Result<Option<Zeroizing<String>>, UnsendableCookie> {
        let host = base_url.ascii_host();
        header::cookie_header(&self.entries(), host.as_deref(), url, now)
    }

    /// Returns all cookies. Those of the flat map come first.
    fn entries(&self) -> Vec<Entry<'_>> {
        let flat = self
            .with_attributes()
            .map(|(name, value, attributes)| Entry {
                name,
                value,
                attributes: attributes.map(Cow::Borrowed),
                rank: 1,
            });
        let others = self.others().iter().map(|other| Entry {
            name: &other.name,
            value: Some(&other.value),
            attributes: Some(Cow::Borrowed(&other.attributes)),
            rank: 0,
        });
        flat.chain(others).collect()
    }

    /// Stores cookies that were checked before. `base_url` decides which cookies the flat map
    /// contains.
    fn from_entries(entries: Vec<Entry<'_>>, base_url: &BaseUrl) -> Self {
        let (flat, others) = merge::project(entries, CookieUrl::of(base_url).as_ref());
        let others = others.into_iter().filter_map(|entry| {
            Some(OtherCookie {
                name: entry.name.to_owned(),
                value: Zeroizing::new(entry.value?.to_owned()),
                attributes: entry.attributes?.into_owned(),
            })
        });
        let details = Details {
            attributes: (flat.iter())
                .map(|entry| entry.attributes.as_deref().cloned())
                .collect(),
            others: others.collect(),
        };
        let jar = Jar::new(flat.iter().map(|entry| (entry.name, entry.value)));
        Self(Arc::new(jar.with_details(details)))
    }

    /// Returns a copy with changes that were checked before. A value sets a cookie without
    /// attributes, and `None` removes the cookie. Both remove all other cookies of the name.
    pub(crate) fn changed<'a>(
        &'a self,
        changes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
        base_url: &BaseUrl,
    ) -> Self {
        let mut entries = self.entries();
        for (name, value) in changes {
            let position = entries.iter().position(|entry| entry.name == name);
            let Some(value) = value else {
                entries.retain(|entry| entry.name != name);
                continue;
            };
            let new = Entry {
                name,
                value: Some(value),
                attributes: None,
                rank: 1,
            };
            match position {
                Some(position) => {
                    entries[position] = new;
                    let mut index = 0;
                    entries.retain(|entry| {
                        index += 1;
                        entry.name != name || index - 1 == position
                    });
                }
                None => entries.push(new),
            }
        }
        Self::from_entries(entries, base_url)
    }

    /// Merges the cookies that the site has set, as browsers do (RFC 6265bis, section 5.7), one
    /// after the other. `now` is the current time on the clock of the store.
    ///
    /// Differences from browsers: a cookie without attributes is replaced by the next cookie of its
    /// name, whatever its domain and path. The host-only flag is not part of the identity of a
    /// cookie. A stored cookie is never removed to make room for another. Name and value may have
    /// [`MAX_LEN`](Self::MAX_LEN) bytes, which is more than the 4096 bytes of browsers.
    #[must_use]
    pub fn merged(
        &self,
        update: &SetCookieLines,
        base_url: &BaseUrl,
        now: OffsetDateTime,
    ) -> MergedCookies {
        let mut merge = Merge::new(self.entries(), now);
        let ignored = merge.merge(update);
        let cookies = merge
            .is_changed()
            .then(|| Self::from_entries(merge.entries, base_url));
        MergedCookies { cookies, ignored }
    }

    /// Returns the value of the cookie `name`. Returns `None` if there is no such cookie, or if the
    /// cookie has no value. Names are case-sensitive.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut cookies = self.iter();
        cookies.find_map(|(known, value)| value.filter(|_| known == name))
    }

    /// Returns an iterator over the cookies, as pairs of name and value, in the order given. The
    /// value is `None` for a cookie without a value.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Option<&str>)> + Clone {
        self.0.iter()
    }

    /// Returns all cookie names and values, each followed by a NUL. A cookie without a value
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

    /// Returns the number of cookies.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Returns the total length of all names, values and attributes in bytes, with terminators.
    #[must_use]
    pub fn text_len(&self) -> usize {
        let (others, attributes) = (self.others().iter(), self.with_attributes());
        let others =
            others.map(|other| other.name.len() + other.value.len() + other.attributes.text_len());
        let attributes = attributes.filter_map(|(_, _, attributes)| attributes);
        self.0.as_bytes().len()
            + others.sum::<usize>()
            + attributes.map(CookieAttributes::text_len).sum::<usize>()
    }

    /// Returns `true` if there are no cookies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// No cookies.
impl Default for Cookies {
    fn default() -> Self {
        Self(Arc::new(Jar::new(iter::empty::<(&str, Option<&str>)>())))
    }
}

/// Result of merging `Set-Cookie` lines.
#[derive(Debug)]
pub struct MergedCookies {
    /// The merged cookies. `None` if nothing changed that is worth a write to the store.
    pub cookies: Option<Cookies>,
    /// Lines that were ignored.
    pub ignored: Vec<IgnoredLine>,
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
