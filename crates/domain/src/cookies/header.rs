//! The `Cookie` header field of a request to the site (RFC 6265bis, section 5.8).

use thiserror::Error;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{cookie_url::CookieUrl, merge::Entry};

/// Error: a cookie for the URL has a value with `;`. The site would parse the rest of the value as
/// another cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a cookie for this URL has a value with a semicolon, which cannot be sent")]
pub struct UnsendableCookie;

/// Returns the value of the `Cookie` header field for a request to `url`. Returns `None` if no
/// cookie is sent to `url`. `host` is the host of the base URL, to which cookies without attributes
/// are sent.
pub(super) fn cookie_header(
    entries: &[Entry<'_>],
    host: Option<&str>,
    url: &CookieUrl,
    now: OffsetDateTime,
) -> Result<Option<Zeroizing<String>>, UnsendableCookie> {
    let mut sent: Vec<_> = entries
        .iter()
        .filter(|entry| match &entry.attributes {
            Some(attributes) => !attributes.is_expired(now) && attributes.is_sent_to(url),
            None => host == Some(url.host.as_str()),
        })
        .collect();
    let path_len = |entry: &Entry<'_>| entry.attributes.as_ref().map_or(1, |own| own.path.len());
    // The sort is stable, so that cookies with paths of the same length keep their order.
    sent.sort_by_key(|entry| std::cmp::Reverse(path_len(entry)));
    if sent.is_empty() {
        return Ok(None);
    }
    let len = sent
        .iter()
        .map(|entry| entry.name.len() + entry.value.map_or(0, str::len) + 3);
    // The full capacity is reserved first. A text that grows would be moved, and its old memory
    // would not be wiped.
    let mut header = Zeroizing::new(String::with_capacity(len.sum()));
    for entry in sent {
        if entry.value.is_some_and(|value| value.contains(';')) {
            return Err(UnsendableCookie);
        }
        if !header.is_empty() {
            header.push_str("; ");
        }
        header.push_str(entry.name);
        // A cookie without a name is sent as its value alone. A cookie without a value is sent as
        // its name alone. Cookie jars that know such cookies send them in the same way.
        if let Some(value) = entry.value {
            if !entry.name.is_empty() {
                header.push('=');
            }
            header.push_str(value);
        }
    }
    Ok(Some(header))
}
