//! The upstream site's base URL.

use std::{fmt, sync::Arc};

use thiserror::Error;
use url::{Host, Url};

use crate::error::ControlCharacter;

/// The absolute `http` or `https` URL of the site that the cookies belong to, kept as given.
///
/// `Debug` shows what [`for_log`](Self::for_log) shows: scheme, host and path. Clones share the text.
///
/// ```
/// use tee_session_domain::BaseUrl;
///
/// let url = BaseUrl::new("https://golf.example/members?club=7")?;
/// assert_eq!(url.as_str(), "https://golf.example/members?club=7");
/// assert_eq!(url.for_log().to_string(), "https://golf.example/members");
/// # Ok::<(), tee_session_domain::BaseUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(Arc<str>);

impl BaseUrl {
    /// Most bytes of a base URL.
    pub const MAX_LEN: usize = 2_048;

    /// Takes a URL that a client gives, holding it to every rule. Syntax is that of the WHATWG
    /// URL standard, without its repairs: what a parser would have to strip or add is refused.
    ///
    /// # Errors
    /// The first rule that is broken.
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
        check_authority(authority(&text)?)?;
        let url = Url::parse(&text).map_err(|_| BaseUrlError::Host)?;
        match url.host() {
            Some(Host::Domain(name)) if is_dns_name(name) => {}
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => {}
            _ => return Err(BaseUrlError::Host),
        }
        Ok(Self(text.into()))
    }

    /// Takes the URL of a stored record, whoever wrote it: only control characters are refused.
    ///
    /// # Errors
    /// When the text holds a control character.
    pub fn from_stored(text: impl Into<Arc<str>>) -> Result<Self, ControlCharacter> {
        let text = text.into();
        ControlCharacter::refuse(&text)?;
        Ok(Self(text))
    }

    /// The URL, exactly as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host in its ASCII form, addresses in their canonical one; `None` when a stored text
    /// is no URL with a host.
    #[must_use]
    pub fn ascii_host(&self) -> Option<String> {
        Url::parse(&self.0).ok()?.host_str().map(str::to_owned)
    }

    /// The URL in ASCII alone, as the WHATWG URL standard serializes it: for header fields. The host
    /// is in its ASCII form, and the rest percent-encoded. `None` when a stored text is no `http` or
    /// `https` URL; credentials, which only records of others have, are left out.
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

    /// The part that logs may show: scheme, host and path, no query and no credentials.
    #[must_use]
    pub fn for_log(&self) -> LogSafeUrl<'_> {
        LogSafeUrl(&self.0)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({})", self.for_log())
    }
}

/// A base URL whose `Display` gives scheme, host and path only.
#[derive(Debug, Clone, Copy)]
pub struct LogSafeUrl<'a>(&'a str);

impl fmt::Display for LogSafeUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Url::parse(self.0) {
            // Of other schemes, which only records of others have, credentials may stand in the
            // path.
            Ok(url) if matches!(url.scheme(), "http" | "https") => {
                let host = url.host_str().unwrap_or_default();
                write!(f, "{}://{host}{}", url.scheme(), url.path())
            }
            _ => f.write_str("[not a web URL]"),
        }
    }
}

/// The rules for a base URL. `Display` says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BaseUrlError {
    /// How long it may be.
    #[error("must hold 1 to {} bytes", BaseUrl::MAX_LEN)]
    Length,
    /// What it may consist of.
    #[error("must not hold white space, control characters or backslashes")]
    Characters,
    /// What it begins with.
    #[error("must be absolute and begin with http:// or https://")]
    Scheme,
    /// No user name or password.
    #[error("must not hold credentials")]
    Credentials,
    /// No fragment.
    #[error("must not hold a fragment")]
    Fragment,
    /// What the host may be.
    #[error("must name a host by a valid DNS name or IP address")]
    Host,
    /// What the port may be.
    #[error("must have a port of 1 to 65535, or none")]
    Port,
}

/// What stands between `http://` or `https://` and the path or query.
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
    // A percent sign would be decoded into a host other than the one that a reader sees.
    if authority.is_empty() || authority.contains('%') {
        return Err(BaseUrlError::Host);
    }
    let end_of_host = match authority.rfind(']') {
        Some(end_of_ipv6) => end_of_ipv6 + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, after_host) = authority.split_at(end_of_host);
    // After an IPv4 address a parser would drop it. These are all that IDNA takes for a dot.
    if host.ends_with(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']) {
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

/// RFC 1123 host names in their ASCII form, and the underscore that names in practice have.
pub(crate) fn is_dns_name(name: &str) -> bool {
    name.len() <= 253
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
