//! Attributes of a stored cookie.

use time::OffsetDateTime;

use super::{cookie_url::CookieUrl, matching};

/// Scope and lifetime of a cookie that the site set with a `Set-Cookie` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieAttributes {
    /// Host to which the cookie is sent, in lower case.
    pub domain: String,
    /// If `false`, the cookie is also sent to subdomains of `domain`.
    pub host_only: bool,
    /// Path of the cookie. The cookie is sent to this path and to the paths below it.
    pub path: String,
    /// If `true`, the cookie is sent over HTTPS only.
    pub secure: bool,
    /// Time at which the cookie expires, on the clock of the store. `None` for a cookie that
    /// browsers keep until they are closed.
    pub expires: Option<OffsetDateTime>,
}

impl CookieAttributes {
    /// Returns the attributes that are assumed for a cookie without attributes (a cookie that no
    /// `Set-Cookie` line has set): the host of the base URL, and the path `/`.
    pub(super) fn of_login(base_url: Option<&CookieUrl>) -> Self {
        Self {
            domain: base_url.map(|url| url.host.clone()).unwrap_or_default(),
            host_only: true,
            path: "/".to_owned(),
            secure: false,
            expires: None,
        }
    }

    /// Returns the total length of the domain and the path in bytes.
    pub(super) fn text_len(&self) -> usize {
        self.domain.len() + self.path.len()
    }

    pub(super) fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Returns `true` if a request to `url` carries the cookie (RFC 6265bis, section 5.8.3). Does
    /// not check whether the cookie has expired.
    pub(super) fn is_sent_to(&self, url: &CookieUrl) -> bool {
        let is_host = if self.host_only {
            url.host == self.domain
        } else {
            matching::domain_matches(&url.host, &self.domain)
        };
        is_host && matching::path_matches(&url.path, &self.path) && (url.is_https || !self.secure)
    }

    /// Returns `true` if `self` and `other` have the same domain and path. A cookie replaces a
    /// cookie with the same name, domain and path.
    pub(super) fn has_scope_of(&self, other: &Self) -> bool {
        self.domain == other.domain && self.path == other.path
    }
}
