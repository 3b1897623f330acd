//! Base URL of the upstream site.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;
use url::{Host, Position, Url};

use crate::error::ControlCharacter;

/// Absolute `http` or `https` URL of the upstream site that the cookies belong to. The URL is
/// stored exactly as given.
///
/// `Debug` shows only the result of [`for_log`](Self::for_log): origin and path. Clones share
/// the memory of the text.
///
/// ```
/// use tee_session_domain::BaseUrl;
///
/// let url: BaseUrl = "https://golf.example/members?club=7".parse()?;
/// assert_eq!(url.as_str(), "https://golf.example/members?club=7");
/// assert_eq!(url.for_log().to_string(), "https://golf.example/members");
/// # Ok::<(), tee_session_domain::BaseUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Arc<str>);

impl BaseUrl {
    /// Maximum length of a base URL in bytes.
    pub const MAX_LEN: usize = 2_048;

    /// Validates a base URL that a client sends.
    ///
    /// The URL must follow the WHATWG URL standard without corrections. If a parser would have to
    /// remove or add characters, the URL is rejected.
    ///
    /// # Errors
    /// Returns the first rule that the URL breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, BaseUrlError> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::MAX_LEN {
            return Err(BaseUrlError::Length);
        }
        if text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '\\')
        {
            return Err(BaseUrlError::Characters);
        }
        if text.contains('#') {
            return Err(BaseUrlError::Fragment);
        }
        let authority = authority(&text)?;
        check_authority(authority)?;
        let url = Url::parse(&text).map_err(|_| BaseUrlError::Host)?;
        match url.host() {
            Some(Host::Domain(name)) if is_dns_name(without_trailing_dot(name)) => {}
            // A dot after an IPv4 address is rejected, because a URL parser would remove the dot.
            Some(Host::Ipv4(_)) if !ends_with_dot(authority) => {}
            Some(Host::Ipv6(_)) => {}
            _ => return Err(BaseUrlError::Host),
        }
        Ok(Self(text.into()))
    }

    /// Accepts the base URL of a stored record. Another program may have written the record, so the
    /// URL need not be valid. Only control characters are rejected.
    ///
    /// # Errors
    /// Fails if the text contains a control character.
    pub fn from_stored(text: impl Into<Arc<str>>) -> Result<Self, ControlCharacter> {
        let text = text.into();
        ControlCharacter::refuse(&text)?;
        Ok(Self(text))
    }

    /// Returns the text of the URL exactly as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the host in ASCII form. IP addresses are in canonical form. Returns `None` if the
    /// text is not a URL or has no host. Only a stored record can contain such a text.
    #[must_use]
    pub fn ascii_host(&self) -> Option<String> {
        Url::parse(&self.0).ok()?.host_str().map(str::to_owned)
    }

    /// Returns the URL as ASCII text, which can be used in a header field. The URL is serialized as
    /// the WHATWG URL standard defines. The host is in ASCII form, and the other parts are
    /// percent-encoded.
    ///
    /// User name and password are left out. Only records that another program wrote can contain
    /// them. Returns `None` if the text is not an `http` or `https` URL. Only a stored record can
    /// contain such a text.
    #[must_use]
    pub fn ascii_serialization(&self) -> Option<String> {
        let mut url = Url::parse(&self.0).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        Some(url.into())
    }

    /// Returns the part of the URL that logs may show: scheme, host, path, and the port if it is not
    /// the default port of the scheme. Query, user name and password are left out.
    #[must_use]
    pub fn for_log(&self) -> LogSafeUrl<'_> {
        LogSafeUrl(&self.0)
    }
}

/// Validates a base URL like [`BaseUrl::new`].
impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({})", self.for_log())
    }
}

/// A base URL for logs. `Display` writes only scheme, host, port and path, or `[not a web URL]` if
/// the URL is not an `http` or `https` URL. A default port is left out.
#[derive(Debug, Clone, Copy)]
pub struct LogSafeUrl<'a>(&'a str);

impl fmt::Display for LogSafeUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(self.0) {
            // URLs with other schemes can contain credentials in their path, so they are not shown.
            // Only records that another program wrote contain such URLs.
            Ok(url) if matches!(url.scheme(), "http" | "https") => {
                let shown = &url[Position::BeforeHost..Position::AfterPath];
                write!(f, "{}://{shown}", url.scheme())
            }
            _ => f.write_str("[not a web URL]"),
        }
    }
}

/// Error for an invalid base URL: the rule that the URL breaks. `Display` states what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BaseUrlError {
    /// The URL is empty or longer than [`BaseUrl::MAX_LEN`] bytes.
    #[error("the base URL must be 1 to {} bytes long", BaseUrl::MAX_LEN)]
    Length,
    /// The URL contains white space, a control character or a backslash.
    #[error("the base URL must not contain white space, control characters or backslashes")]
    Characters,
    /// The URL is not absolute, or its scheme is neither `http` nor `https`.
    #[error("the base URL must be absolute and begin with http:// or https://")]
    Scheme,
    /// The URL contains credentials (a user name or a password).
    #[error("the base URL must not contain credentials")]
    Credentials,
    /// The URL contains a fragment (`#`).
    #[error("the base URL must not contain a fragment")]
    Fragment,
    /// The host is missing, or is neither a valid DNS name nor a valid IP address.
    #[error("the base URL must contain a host that is a valid DNS name or IP address")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the base URL must have a port from 1 to 65535 or no port")]
    Port,
}

/// Returns the authority of a URL: the part between `http://` or `https://` and the path or query.
fn authority(text: &str) -> Result<&str, BaseUrlError> {
    let (scheme, rest) = text.split_once("://").ok_or(BaseUrlError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(BaseUrlError::Scheme);
    }
    Ok(rest.split(['/', '?']).next().unwrap_or_default())
}

fn check_authority(authority: &str) -> Result<(), BaseUrlError> {
    if authority.contains('@') {
        return Err(BaseUrlError::Credentials);
    }
    // A URL parser decodes percent-encoding in the host. The decoded host could differ from the
    // host that a person reads in the URL.
    if authority.is_empty() || authority.contains('%') {
        return Err(BaseUrlError::Host);
    }
    let end_of_host = match authority.rfind(']') {
        Some(end_of_ipv6) => end_of_ipv6 + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, after_host) = authority.split_at(end_of_host);
    // IDNA, the standard for international host names, treats these characters as dots. A URL
    // parser would replace them.
    if host.ends_with(['\u{3002}', '\u{ff0e}', '\u{ff61}']) {
        return Err(BaseUrlError::Host);
    }
    match after_host.strip_prefix(':') {
        None if after_host.is_empty() => Ok(()),
        None => Err(BaseUrlError::Host),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => match port.parse::<u16>() {
            Ok(1..) => Ok(()),
            _ => Err(BaseUrlError::Port),
        },
        Some(_) => Err(BaseUrlError::Port),
    }
}

/// Maximum length of a DNS name, in bytes (RFC 1035, section 2.3.4, without the root label).
pub(crate) const MAX_DNS_NAME_LEN: usize = 253;

/// Returns `true` if the host in `authority` ends with a dot.
fn ends_with_dot(authority: &str) -> bool {
    let (host, _port) = authority.split_once(':').unwrap_or((authority, ""));
    host.ends_with('.')
}

/// Removes the dot at the end of a host name, if there is one. With the dot, the name is absolute
/// (RFC 1034, section 3.1): a resolver does not append a search domain.
pub(crate) fn without_trailing_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Returns `true` if `name` is an RFC 1123 host name in ASCII form. Underscores are allowed in
/// addition, because real host names contain underscores.
pub(crate) fn is_dns_name(name: &str) -> bool {
    name.len() <= MAX_DNS_NAME_LEN
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

#[cfg(test)]
mod tests;
