//! Site to which a request is sent.

use std::fmt;

use thiserror::Error;
use url::{Host, Url};

/// Origin of a site: scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    is_https: bool,
    host: Host<String>,
    port: u16,
}

/// Error: the text is not an absolute `http` or `https` URL with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the text is not an absolute http or https URL")]
pub struct UnknownSite;

impl Site {
    /// Parses the site from an absolute `http` or `https` URL. Ignores path, query and credentials
    /// of the URL.
    ///
    /// # Errors
    /// Fails if the text is not such a URL.
    pub fn of_url(text: &str) -> Result<Self, UnknownSite> {
        Self::of(&Url::parse(text).map_err(|_| UnknownSite)?).ok_or(UnknownSite)
    }

    pub(crate) fn of(url: &Url) -> Option<Self> {
        let is_https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self {
            is_https,
            host: url.host()?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    /// Returns `true` if the site is called over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Returns the port of the site.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn host(&self) -> &Host<String> {
        &self.host
    }

    /// Returns the site without the dot at the end of its host name. The host name has the same
    /// addresses with and without this dot.
    pub(crate) fn without_final_dot(&self) -> Self {
        let mut site = self.clone();
        if let Host::Domain(name) = &mut site.host
            && name.ends_with('.')
        {
            name.pop();
        }
        site
    }

    /// Returns the value of the header field `Host`: the host, and the port if it is not the
    /// default port of the scheme.
    #[must_use]
    pub fn authority(&self) -> String {
        let default_port = if self.is_https { 443 } else { 80 };
        if self.port == default_port {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Returns the origin of the site as text, such as `https://golf.example`.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }
}

/// Writes the origin of the site, such as `https://golf.example`.
impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::default_port("https://golf.example/members?x=1", "https://golf.example")]
    #[case::named_default_port("https://golf.example:443", "https://golf.example")]
    #[case::http("http://golf.example:80", "http://golf.example")]
    #[case::other_port("http://golf.example:443", "http://golf.example:443")]
    #[case::ipv4_in_another_spelling("http://0x7f.1:8080", "http://127.0.0.1:8080")]
    #[case::ipv6("https://[0:0::1]", "https://[::1]")]
    #[case::trailing_dot("https://golf.example.", "https://golf.example.")]
    #[case::credentials("https://user:secret@golf.example", "https://golf.example")]
    fn origin_has_the_port_only_if_it_is_not_the_default(#[case] url: &str, #[case] origin: &str) {
        assert_eq!(Site::of_url(url).unwrap().origin(), origin);
    }

    #[rstest]
    #[case("golf.example")]
    #[case("ftp://golf.example")]
    #[case("javascript:alert(1)")]
    #[case("/members")]
    fn text_that_is_no_absolute_http_or_https_url_is_rejected(#[case] text: &str) {
        assert_eq!(Site::of_url(text), Err(UnknownSite));
    }
}
