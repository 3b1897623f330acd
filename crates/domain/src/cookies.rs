//! Cookies of the upstream site, which give access to the accounts of its users.

mod cached_tag;
mod jar;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use indexmap::{IndexMap, map::Entry};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub(crate) use self::cached_tag::CachedTag;
use self::jar::Jar;
use crate::error::ControlCharacter;

/// Cookies of an authenticated session on the upstream site: names and values, in the order given.
///
/// Values are secrets: there is no `Display`, `Debug` shows only the number of cookies, and the
/// memory is wiped when the last clone is dropped. Clones share the memory.
///
/// Names are RFC 6265 tokens. Values contain no control characters. All other characters of a value
/// are kept exactly as given, including Unicode and `;`.
///
/// ```
/// use tee_session_domain::Cookies;
///
/// let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())])?;
/// assert_eq!(cookies.get("SESSIONID"), Some("a1b2c3"));
/// assert_eq!(format!("{cookies:?}"), "Cookies(1 redacted)");
/// # Ok::<(), tee_session_domain::CookiesError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Cookies(Arc<Jar>);

impl Cookies {
    /// Maximum number of cookies in a session.
    pub const MAX_COUNT: usize = 50;
    /// Maximum length of a cookie name in bytes.
    pub const MAX_NAME_LEN: usize = 256;
    /// Maximum length of a cookie value in bytes.
    pub const MAX_VALUE_LEN: usize = 4_096;
    /// Maximum length of all cookie names and values together, in bytes.
    pub const MAX_TOTAL_LEN: usize = 16 * 1_024;

    /// Validates cookies that a client sends.
    ///
    /// # Errors
    /// Returns all rules that the cookies break. Rules for single cookies come first, in the order
    /// of the cookies. Rules for all cookies together come last.
    pub fn new(cookies: impl IntoIterator<Item = (String, String)>) -> Result<Self, CookiesError> {
        let mut accepted = IndexMap::new();
        let mut problems = Vec::new();
        let (mut count, mut total_len) = (0_usize, 0_usize);
        for (name, value) in cookies {
            count += 1;
            total_len += name.len() + value.len();
            if count > Self::MAX_COUNT {
                continue;
            }
            if let Some(rule) = broken_name_rule(&name) {
                problems.push(CookieProblem { cookie: None, rule });
                continue;
            }
            if let Some(rule) = broken_value_rule(&value) {
                problems.push(CookieProblem {
                    cookie: Some(name),
                    rule,
                });
                continue;
            }
            match accepted.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert(value);
                }
                Entry::Occupied(entry) => problems.push(CookieProblem {
                    cookie: Some(entry.key().clone()),
                    rule: CookieRule::Unique,
                }),
            }
        }
        if count == 0 || count > Self::MAX_COUNT {
            problems.push(CookieProblem {
                cookie: None,
                rule: CookieRule::Count,
            });
        }
        if total_len > Self::MAX_TOTAL_LEN {
            problems.push(CookieProblem {
                cookie: None,
                rule: CookieRule::TotalLength,
            });
        }
        let result = if problems.is_empty() {
            Ok(Self(Arc::new(Jar::new(accepted.iter()))))
        } else {
            Err(CookiesError { problems })
        };
        accepted.values_mut().for_each(Zeroize::zeroize);
        result
    }

    /// Accepts the cookies of a stored record. Another program may have written the record, so the
    /// cookies need not be valid. Only control characters are rejected, because they could start a
    /// new line in a header. If a name is repeated, its last value is used.
    ///
    /// # Errors
    /// Fails if a name or a value contains a control character.
    pub fn from_stored<N, V>(cookies: &[(N, V)]) -> Result<Self, ControlCharacter>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let cookies = cookies
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()));
        for (name, value) in cookies.clone() {
            ControlCharacter::refuse(name)?;
            ControlCharacter::refuse(value)?;
        }
        let names = cookies.clone().map(|(name, _)| name);
        let jar = if are_distinct(names) {
            Jar::new(cookies)
        } else {
            Jar::new(cookies.collect::<IndexMap<_, _>>())
        };
        Ok(Self(Arc::new(jar)))
    }

    /// Returns the value of the cookie `name`, or `None` if there is no such cookie. Names are
    /// case-sensitive.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut cookies = self.iter();
        cookies.find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Returns an iterator over the cookies, as pairs of name and value, in the order given.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter()
    }

    /// Returns all cookie names and values, each followed by a NUL.
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

    /// Returns `true` if there are no cookies. Only a record that another program wrote can have no
    /// cookies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ZeroizeOnDrop for Cookies {}

impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookies({} redacted)", self.len())
    }
}

/// Error for cookies that break at least one rule of [`CookieRule`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the cookies break {} rule(s); the first: {}", problems.len(), first(problems))]
pub struct CookiesError {
    /// All broken rules. There is at least one.
    pub problems: Vec<CookieProblem>,
}

/// A rule that the cookies break, and the cookie that breaks the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieProblem {
    /// Name of the cookie that breaks the rule. `None` if the name is invalid or the rule concerns
    /// all cookies together.
    pub cookie: Option<String>,
    /// Rule that the cookies break.
    pub rule: CookieRule,
}

/// A rule for cookies that a client sends. `Display` states what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CookieRule {
    /// Rule: there are 1 to [`Cookies::MAX_COUNT`] cookies.
    #[error("a session must contain 1 to {} cookies", Cookies::MAX_COUNT)]
    Count,
    /// Rule: all names and values together have at most [`Cookies::MAX_TOTAL_LEN`] bytes.
    #[error(
        "names and values together must not exceed {} bytes",
        Cookies::MAX_TOTAL_LEN
    )]
    TotalLength,
    /// Rule: a cookie name has 1 to [`Cookies::MAX_NAME_LEN`] bytes.
    #[error("a cookie name must be 1 to {} bytes long", Cookies::MAX_NAME_LEN)]
    NameLength,
    /// Rule: a cookie name contains only the characters of an RFC 6265 token.
    #[error("a cookie name must be a token of RFC 6265: visible ASCII without separators")]
    NameCharacters,
    /// Rule: a cookie value has at most [`Cookies::MAX_VALUE_LEN`] bytes.
    #[error("a cookie value must be at most {} bytes long", Cookies::MAX_VALUE_LEN)]
    ValueLength,
    /// Rule: a cookie value contains no control characters.
    #[error("a cookie value must not contain control characters")]
    ValueCharacters,
    /// Rule: no cookie name is repeated.
    #[error("a cookie name must not be repeated")]
    Unique,
}

fn first(problems: &[CookieProblem]) -> String {
    problems
        .first()
        .map(|problem| problem.rule.to_string())
        .unwrap_or_default()
}

fn broken_name_rule(name: &str) -> Option<CookieRule> {
    if name.is_empty() || name.len() > Cookies::MAX_NAME_LEN {
        Some(CookieRule::NameLength)
    } else if !name.bytes().all(is_token_byte) {
        Some(CookieRule::NameCharacters)
    } else {
        None
    }
}

fn broken_value_rule(value: &str) -> Option<CookieRule> {
    if value.len() > Cookies::MAX_VALUE_LEN {
        Some(CookieRule::ValueLength)
    } else if ControlCharacter::refuse(value).is_err() {
        Some(CookieRule::ValueCharacters)
    } else {
        None
    }
}

/// Returns `true` if there are at most [`Cookies::MAX_COUNT`] names and all names differ. The names
/// are compared pairwise, which would be slow for more names. If the result is `false`, the caller
/// removes duplicates with a hash table.
fn are_distinct<'a>(names: impl ExactSizeIterator<Item = &'a str> + Clone) -> bool {
    names.len() <= Cookies::MAX_COUNT
        && (names.clone().enumerate())
            .all(|(index, name)| names.clone().take(index).all(|earlier| earlier != name))
}

/// Returns `true` if `byte` may occur in a `token` of RFC 9110, section 5.6.2. RFC 6265 uses this
/// syntax for cookie names.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
