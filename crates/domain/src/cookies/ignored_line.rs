//! Reasons for which a `Set-Cookie` line is ignored.

use super::rules::CookieRule;

/// A `Set-Cookie` line that was ignored, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IgnoredLine {
    /// Position of the line among the `Set-Cookie` lines of the answer, from 0.
    pub index: usize,
    /// Reason why the line was ignored.
    pub reason: IgnoreReason,
}

/// Reason for which a `Set-Cookie` line is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IgnoreReason {
    /// The line contains a forbidden control character, or the cookie has no name and a value that
    /// is empty or contains `=`.
    Syntax,
    /// The attribute `Domain` is a public suffix, or does not match the host of the URL.
    Domain,
    /// The URL is not `https`, and the cookie is `Secure` or would replace a `Secure` cookie.
    Insecure,
    /// The name begins with `__Host-` or `__Secure-`, and the cookie lacks the attributes that this
    /// prefix requires. Or the cookie has no name, and its value begins with one of the prefixes.
    Prefix,
    /// The name and the value of the cookie together are too long.
    TooLarge,
    /// The session has no room for another cookie.
    Full,
}

impl IgnoreReason {
    /// All reasons for ignoring a `Set-Cookie` line.
    pub const ALL: [Self; 6] = [
        Self::Syntax,
        Self::Domain,
        Self::Insecure,
        Self::Prefix,
        Self::TooLarge,
        Self::Full,
    ];

    /// Returns the name of the reason in responses and metrics. These names do not change.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Domain => "domain",
            Self::Insecure => "insecure",
            Self::Prefix => "prefix",
            Self::TooLarge => "too_large",
            Self::Full => "full",
        }
    }

    pub(super) fn of_rule(rule: CookieRule) -> Self {
        match rule {
            CookieRule::Length => Self::TooLarge,
            CookieRule::Count | CookieRule::TotalLength => Self::Full,
            CookieRule::NamelessPrefix => Self::Prefix,
            CookieRule::Name
            | CookieRule::Value
            | CookieRule::NamelessValue
            | CookieRule::Unique => Self::Syntax,
        }
    }
}
