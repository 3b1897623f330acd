//! Decides whether a cookie that a site sets is stored, and with which attributes (RFC 6265bis,
//! section 5.7).

use time::{Duration, OffsetDateTime};

use super::{
    attributes::CookieAttributes,
    cookie_url::CookieUrl,
    ignored_line::IgnoreReason,
    matching::{domain_matches, is_ip_address, is_public_suffix},
    rules,
    set_cookie::{Lifetime, SetCookie},
};

/// Maximum lifetime of a cookie (RFC 6265bis, section 5.5).
const MAX_LIFETIME: Duration = Duration::days(400);

/// Properties of an answer of a site that sets cookies.
pub(super) struct Answer<'a> {
    /// URL of the request that the site has answered.
    pub(super) url: &'a CookieUrl,
    /// Current time on the clock of the store.
    pub(super) now: OffsetDateTime,
    /// Time of the answer on the clock of the site, from the header field `Date`. `Expires` is
    /// compared with this time, so that a wrong clock of the site has no effect on the lifetime of
    /// cookies.
    pub(super) date: Option<OffsetDateTime>,
}

/// A cookie that [`accept`] has accepted, with its attributes.
pub(super) struct Accepted<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) attributes: CookieAttributes,
}

/// Parses a `Set-Cookie` line and checks the rules that do not depend on stored cookies. Returns
/// the cookie, or the reason for ignoring the line.
pub(super) fn accept<'a>(line: &'a str, answer: &Answer<'_>) -> Result<Accepted<'a>, IgnoreReason> {
    let cookie = SetCookie::parse(line).ok_or(IgnoreReason::Syntax)?;
    rules::check(cookie.name, Some(cookie.value)).map_err(IgnoreReason::of_rule)?;
    // RFC 6265bis, section 5.7, step 13.
    if cookie.is_secure && !answer.url.is_https {
        return Err(IgnoreReason::Insecure);
    }
    let (domain, host_only) = scope(&cookie, &answer.url.host)?;
    let path = cookie.path.unwrap_or_else(|| answer.url.default_path());
    check_prefix(&cookie, host_only)?;
    Ok(Accepted {
        name: cookie.name,
        value: cookie.value,
        attributes: CookieAttributes {
            domain,
            host_only,
            path: path.to_owned(),
            secure: cookie.is_secure,
            expires: cookie.lifetime.map(|lifetime| expiry(lifetime, answer)),
        },
    })
}

/// Returns the domain of the cookie and its host-only flag (steps 8 to 10). The flag is `true` if
/// the cookie is not sent to subdomains.
fn scope(cookie: &SetCookie<'_>, host: &str) -> Result<(String, bool), IgnoreReason> {
    let Some(domain) = cookie.domain.as_deref() else {
        return Ok((host.to_owned(), true));
    };
    if domain == host && (is_ip_address(host) || is_public_suffix(host)) {
        return Ok((host.to_owned(), true));
    }
    if !domain.is_ascii() || is_public_suffix(domain) || !domain_matches(host, domain) {
        return Err(IgnoreReason::Domain);
    }
    Ok((domain.to_owned(), false))
}

/// Checks that a cookie whose name begins with `__Host-` or `__Secure-` has the required attributes
/// (steps 20 and 21).
fn check_prefix(cookie: &SetCookie<'_>, host_only: bool) -> Result<(), IgnoreReason> {
    let is_secure = cookie.is_secure;
    let keeps_promise = if rules::begins_with(cookie.name, "__Host-") {
        is_secure && host_only && cookie.path == Some("/")
    } else if rules::begins_with(cookie.name, "__Secure-") {
        is_secure
    } else {
        true
    };
    if keeps_promise {
        Ok(())
    } else {
        Err(IgnoreReason::Prefix)
    }
}

/// Returns the expiry time on the clock of the store, in whole microseconds, because records store
/// microseconds.
fn expiry(lifetime: Lifetime, answer: &Answer<'_>) -> OffsetDateTime {
    let left = match lifetime {
        Lifetime::MaxAge(age) => age,
        Lifetime::Expires(time) => time - answer.date.unwrap_or(answer.now),
    };
    // A lifetime of zero or less removes the cookie. Such a cookie expires at once.
    let left = left.clamp(Duration::ZERO, MAX_LIFETIME);
    let expiry = answer.now.saturating_add(left);
    expiry.saturating_sub(Duration::nanoseconds(i64::from(
        expiry.nanosecond() % 1_000,
    )))
}
