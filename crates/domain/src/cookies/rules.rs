//! Rules for the cookies of a session, and the error for cookies that break them.

use std::fmt;

use thiserror::Error;

pub(super) const MAX_COUNT: usize = 180;
pub(super) const MAX_LEN: usize = 8 * 1_024;
pub(super) const MAX_TOTAL_LEN: usize = 32 * 1_024;
pub(super) const MAX_ATTRIBUTES_LEN: usize = 16 * 1_024;

/// Error for cookies that break at least one rule of [`CookieRule`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the cookies break {} rule(s); the first: {}", problems.len(), first(problems))]
pub struct CookiesError {
    /// All cookies that break a rule, in their order. There is at least one.
    pub problems: Vec<CookieProblem>,
}

/// A cookie that breaks a rule. The name of the cookie may be any text, so `Debug` does not show
/// it.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieProblem {
    /// Name of the cookie.
    pub cookie: String,
    /// Rule that the cookie breaks.
    pub rule: CookieRule,
}

impl fmt::Debug for CookieProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieProblem")
            .field("cookie", &"[redacted]")
            .field("rule", &self.rule)
            .finish()
    }
}

/// A rule for the cookies of a session. `Display` states what is allowed.
///
/// The rules are those by which a browser decides whether to store a cookie (RFC 6265bis, section
/// 5). The rules for servers in section 4 are stricter, but sites do not follow them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CookieRule {
    /// Rule: a session has at most [`Cookies::MAX_COUNT`](crate::Cookies::MAX_COUNT) cookies.
    #[error("A session must not have more than {} cookies.", MAX_COUNT)]
    Count,
    /// Rule: all names and values together have at most
    /// [`Cookies::MAX_TOTAL_LEN`](crate::Cookies::MAX_TOTAL_LEN) bytes.
    #[error(
        "The names and values of all cookies together must not exceed {} bytes.",
        MAX_TOTAL_LEN
    )]
    TotalLength,
    /// Rule: the name and the value of a cookie together have at most
    /// [`Cookies::MAX_LEN`](crate::Cookies::MAX_LEN) bytes.
    #[error(
        "The name and the value of a cookie together must not exceed {} bytes.",
        MAX_LEN
    )]
    Length,
    /// Rule: a cookie name contains no control character, no `;` and no `=`, and neither begins nor
    /// ends with a space.
    #[error(
        "A cookie name must not contain control characters, ; or =, and must not begin or end with \
         a space."
    )]
    Name,
    /// Rule: a cookie value contains no control character except TAB.
    #[error("A cookie value must not contain control characters other than TAB.")]
    Value,
    /// Rule: the value of a cookie without a name is not empty and contains no `=`. Such a cookie
    /// is sent as its value alone. A value with `=` would be parsed as the name and the value of
    /// another cookie.
    #[error("The value of a cookie with an empty name must not be empty and must not contain =.")]
    NamelessValue,
    /// Rule: the value of a cookie without a name does not begin with `__Host-` or `__Secure-`, in
    /// upper or lower case. Servers give names with these prefixes a special meaning.
    #[error(
        "The value of a cookie with an empty name must not begin with __Host- or __Secure-, in any \
         case."
    )]
    NamelessPrefix,
    /// Rule: no cookie name is repeated.
    #[error("A cookie name must not be repeated.")]
    Unique,
}

impl CookieRule {
    /// Returns the name of the reason for ignoring a cookie that breaks this rule: `syntax`,
    /// `prefix`, `too_large` or `full`. These names do not change.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Name | Self::Value | Self::NamelessValue | Self::Unique => "syntax",
            Self::NamelessPrefix => "prefix",
            Self::Length => "too_large",
            Self::Count | Self::TotalLength => "full",
        }
    }
}

fn first(problems: &[CookieProblem]) -> String {
    problems
        .first()
        .map(|problem| problem.rule.to_string())
        .unwrap_or_default()
}

/// Checks the rules that concern a single cookie. Returns the first rule that the cookie breaks.
pub(super) fn check(name: &str, value: Option<&str>) -> Result<(), CookieRule> {
    let value = value.unwrap_or_default();
    if name.len() + value.len() > MAX_LEN {
        Err(CookieRule::Length)
    } else if !is_valid_name(name) {
        Err(CookieRule::Name)
    } else if has_control(value) {
        Err(CookieRule::Value)
    } else if name.is_empty() {
        check_nameless(value)
    } else {
        Ok(())
    }
}

/// Checks the value of a cookie without a name (RFC 6265bis, sections 5.6 and 5.7).
fn check_nameless(value: &str) -> Result<(), CookieRule> {
    if value.is_empty() || value.contains('=') {
        Err(CookieRule::NamelessValue)
    } else if ["__Host-", "__Secure-"]
        .iter()
        .any(|prefix| begins_with(value, prefix))
    {
        Err(CookieRule::NamelessPrefix)
    } else {
        Ok(())
    }
}

/// Returns `true` if `text` begins with `prefix`. The comparison ignores the case of ASCII letters.
pub(super) fn begins_with(text: &str, prefix: &str) -> bool {
    let beginning = text.get(..prefix.len());
    beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
}

fn is_valid_name(name: &str) -> bool {
    !has_control(name)
        && !name.contains(['\t', ';', '='])
        && !name.starts_with(' ')
        && !name.ends_with(' ')
}

/// Returns `true` if `text` contains a control character for which a browser ignores a cookie (RFC
/// 6265bis, section 5.6): U+0000 to U+0008, U+000A to U+001F, and U+007F. TAB is allowed. The
/// characters U+0080 to U+009F are allowed as well, because the rule concerns bytes.
pub(super) fn has_control(text: &str) -> bool {
    let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    text.bytes().any(is_control)
}

/// Number and total length of cookies, to check the limits of a session while cookies are added.
#[derive(Default)]
pub(crate) struct Usage {
    count: usize,
    total_len: usize,
}

impl Usage {
    /// Returns the number and the total length of `cookies`.
    pub(crate) fn of<'a>(cookies: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let mut usage = Self::default();
        for (name, value) in cookies {
            usage.count += 1;
            usage.total_len += len(name, value);
        }
        usage
    }

    /// Counts another cookie, or returns the limit that the session would then exceed. `before` is
    /// the usage of the session before the change. If another program stored the session, `before`
    /// may already exceed a limit. The session is then accepted if it does not grow.
    pub(crate) fn add(
        &mut self,
        name: &str,
        value: Option<&str>,
        before: &Self,
    ) -> Result<(), CookieRule> {
        let (count, total_len) = (self.count + 1, self.total_len + len(name, value));
        if count > MAX_COUNT.max(before.count) {
            return Err(CookieRule::Count);
        }
        if total_len > MAX_TOTAL_LEN.max(before.total_len) {
            return Err(CookieRule::TotalLength);
        }
        *self = Self { count, total_len };
        Ok(())
    }
}

fn len(name: &str, value: Option<&str>) -> usize {
    name.len() + value.map_or(0, str::len)
}
