//! Parts of a URL that determine which cookies are stored and sent.

use url::Url;

use super::matching;
use crate::BaseUrl;

/// A URL of the upstream site, reduced to the parts that cookies depend on: scheme, host, port and
/// path. `Debug` shows neither query nor credentials.
#[derive(Debug, Clone)]
pub struct CookieUrl {
    /// Host of the URL in ASCII form and in lower case.
    pub(super) host: String,
    pub(super) path: String,
    pub(super) is_https: bool,
    /// Origin of the URL: scheme, host and port.
    origin: url::Origin,
}

impl CookieUrl {
    /// Parses an absolute `http` or `https` URL. Returns `None` for any other text.
    ///
    /// ```
    /// use tee_session_domain::CookieUrl;
    ///
    /// assert!(CookieUrl::parse("https://golf.example/login").is_some());
    /// assert!(CookieUrl::parse("/login").is_none());
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        Some(Self {
            host: url.host_str()?.to_owned(),
            path: url.path().to_owned(),
            is_https: url.scheme() == "https",
            origin: url.origin(),
        })
    }

    /// Returns the parts of a base URL. Returns `None` if the base URL is not an `http` or `https`
    /// URL, which is possible if another program stored the record.
    #[must_use]
    pub fn of(base_url: &BaseUrl) -> Option<Self> {
        Self::parse(base_url.as_str())
    }

    /// Returns the host of the URL in ASCII form and in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn has_origin_of(&self, other: &Self) -> bool {
        self.origin == other.origin
    }

    /// Returns the default path: the path of a cookie that is set in an answer from this URL and
    /// has no attribute `Path`.
    pub(super) fn default_path(&self) -> &str {
        matching::default_path(&self.path)
    }
}
