//! The upstream site's cookies: other people's logins.

mod jar;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use indexmap::{IndexMap, map::Entry};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use self::jar::Jar;
use crate::{entity_tag::KeptTag, error::ControlCharacter};

/// The cookies of an authenticated upstream session: names and values, in the order given.
///
/// Values are secrets: `Debug` shows their number and nothing else, there is no `Display`, and
/// their memory is wiped when the last clone is dropped; clones share it.
/// Names are RFC 6265 tokens; values hold no control character, and are otherwise kept exactly
/// as given, Unicode and `;` included.
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
    /// Most cookies in one session.
    pub const MAX_COUNT: usize = 50;
    /// Most bytes of one name.
    pub const MAX_NAME_LEN: usize = 256;
    /// Most bytes of one value.
    pub const MAX_VALUE_LEN: usize = 4_096;
    /// Most bytes of all names and values together.
    pub const MAX_TOTAL_LEN: usize = 16 * 1_024;

    /// Takes cookies that a client gives, holding them to every rule.
    ///
    /// # Errors
    /// All rules that are broken, in the order of the cookies.
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

    /// Takes cookies from a stored record, whoever wrote it: only control characters are
    /// refused, since nothing stored may break out of a header line. Of a repeated name the last
    /// value counts.
    ///
    /// # Errors
    /// When a name or a value holds a control character.
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

    /// The value of the cookie called `name` (names are case-sensitive).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut cookies = self.iter();
        cookies.find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Names and values, in the order given.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter()
    }

    /// Names and values, each followed by a NUL.
    pub(crate) fn nul_terminated(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns `true` if there are clones of it.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// The entity tag of a session with these cookies, for all clones of them.
    pub(crate) fn kept_tag(&self) -> &OnceLock<KeptTag> {
        self.0.kept_tag()
    }

    /// How many cookies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Whether there is no cookie (only records that others wrote can be like that).
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

/// The cookies break rules.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} rule(s) for cookies broken; the first: {}", problems.len(), first(problems))]
pub struct CookiesError {
    /// Every broken rule; never empty.
    pub problems: Vec<CookieProblem>,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieProblem {
    /// The cookie's name, if it is a sound one; names that break a rule are not repeated.
    pub cookie: Option<String>,
    /// The rule.
    pub rule: CookieRule,
}

/// The rules for cookies. `Display` says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CookieRule {
    /// How many cookies there may be.
    #[error("must hold 1 to {} cookies", Cookies::MAX_COUNT)]
    Count,
    /// How much all of them may hold.
    #[error(
        "names and values together may hold at most {} bytes",
        Cookies::MAX_TOTAL_LEN
    )]
    TotalLength,
    /// How long a name may be.
    #[error("a cookie name must hold 1 to {} bytes", Cookies::MAX_NAME_LEN)]
    NameLength,
    /// What a name may consist of.
    #[error("a cookie name must be a token of RFC 6265: visible ASCII without separators")]
    NameCharacters,
    /// How long a value may be.
    #[error("a cookie value may hold at most {} bytes", Cookies::MAX_VALUE_LEN)]
    ValueLength,
    /// What a value may consist of.
    #[error("a cookie value must not hold control characters")]
    ValueCharacters,
    /// Names are unique.
    #[error("a cookie name may stand only once")]
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

/// Few names are compared with each other, which spares a table; of many, only a table can tell.
fn are_distinct<'a>(names: impl ExactSizeIterator<Item = &'a str> + Clone) -> bool {
    names.len() <= Cookies::MAX_COUNT
        && (names.clone().enumerate())
            .all(|(index, name)| names.clone().take(index).all(|earlier| earlier != name))
}

/// A `token` byte of RFC 9110, section 5.6.2, which RFC 6265 takes for cookie names.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
