//! A cookie in a cookie file.

use std::fmt;

use tee_session_client::{BaseUrl, Cookies};
use tee_session_domain::CookieAttributes;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// A cookie with its scope and lifetime. The value is a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct FileCookie {
    /// Name of the cookie. Empty for a cookie without a name.
    pub(super) name: String,
    pub(super) value: Zeroizing<String>,
    /// Host of the cookie in lower case, without a leading dot.
    pub(super) domain: String,
    /// If `false`, the cookie is also sent to subdomains of `domain`.
    pub(super) host_only: bool,
    pub(super) path: String,
    pub(super) secure: bool,
    /// Expiry time of the cookie. `None` for a cookie that browsers keep until they are closed.
    pub(super) expires: Option<OffsetDateTime>,
}

impl fmt::Debug for FileCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileCookie([redacted])")
    }
}

/// A cookie that was read from a file, and its position in the file. The position is the number of
/// the line, or the number of the cookie in a list, both from 1.
pub(super) type Positioned = (usize, FileCookie);

/// Name, domain and path of a cookie. In a session, a cookie replaces an earlier cookie with the same
/// name, domain and path.
pub(super) type Identity = (String, String, String);

/// Error for a malformed cookie file. The message quotes nothing from the file, because the file
/// contains secrets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    pub(super) what: String,
    pub(super) advice: &'static str,
}

impl FileCookie {
    fn new(name: &str, value: Option<&str>, attributes: CookieAttributes) -> Self {
        // A cookie with only a name and a cookie with only a value are sent in the same form.
        // Cookie files can express only a cookie without a name, so the name becomes the value.
        let (name, value) = value.map_or(("", name), |value| (name, value));
        Self {
            name: name.to_owned(),
            value: Zeroizing::new(value.to_owned()),
            domain: attributes.domain,
            host_only: attributes.host_only,
            path: attributes.path,
            secure: attributes.secure,
            expires: attributes.expires,
        }
    }

    /// Returns all cookies of a session, each with its name in the session. A cookie from a login or
    /// a patch has no attributes. Such a cookie counts as a cookie for all paths of the host of
    /// `base_url`. If `base_url` is an `https` URL, the cookie also counts as `Secure`.
    ///
    /// Returns `None` if `base_url` is not an `http` or `https` URL, which is possible if another
    /// program stored the session.
    pub(super) fn all_of(cookies: &Cookies, base_url: &BaseUrl) -> Option<Vec<(String, Self)>> {
        let url = base_url.ascii_serialization()?;
        let host = base_url.ascii_host()?;
        let usual = || CookieAttributes {
            domain: host.clone(),
            host_only: true,
            path: "/".to_owned(),
            secure: url.starts_with("https:"),
            expires: None,
        };
        let flat = cookies.with_attributes().map(|(name, value, attributes)| {
            let attributes = attributes.cloned().unwrap_or_else(usual);
            (name.to_owned(), Self::new(name, value, attributes))
        });
        let others = cookies.others().iter();
        let others = others.map(|other| {
            let cookie = Self::new(&other.name, Some(&other.value), other.attributes.clone());
            (other.name.clone(), cookie)
        });
        Some(flat.chain(others).collect())
    }

    /// Returns `true` if browsers send the cookie to `host`.
    pub(super) fn belongs_to(&self, host: &str) -> bool {
        let rest = host.strip_suffix(&self.domain);
        rest.is_some_and(|rest| rest.is_empty() || (!self.host_only && rest.ends_with('.')))
    }

    pub(super) fn identity(&self) -> Identity {
        (self.name.clone(), self.domain.clone(), self.path.clone())
    }

    pub(super) fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Returns the name of a cookie for a message. The name may be empty.
pub(super) fn name_in_messages(name: &str) -> &str {
    if name.is_empty() { "(no name)" } else { name }
}

/// Returns an initial capacity for the buffer of a cookie file. The file usually fits into this
/// capacity (unless JSON escapes many characters), so the buffer does not grow. When a buffer
/// grows, its old memory, which contains secrets, is not wiped.
pub(super) fn len_of_all(cookies: &[FileCookie]) -> usize {
    const OF_OTHER_FIELDS: usize = 256;
    let len = |cookie: &FileCookie| {
        let texts = [&cookie.name, &*cookie.value, &cookie.domain, &cookie.path];
        texts.iter().map(|text| 2 * text.len()).sum::<usize>() + OF_OTHER_FIELDS
    };
    cookies.iter().map(len).sum()
}

/// Last time that [`OffsetDateTime`] can express: the end of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// Parses the expiry time in a cookie file: seconds since 1970, with or without a fraction. Returns
/// `Some(None)` for empty text, 0 and -1, which mean that browsers keep the cookie until they are
/// closed. Returns `None` if `text` is invalid.
pub(super) fn parse_expiry(text: &str) -> Option<Option<OffsetDateTime>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(digits) || !are_digits(fraction) || (digits.is_empty() && !text.is_empty()) {
        return None;
    }
    if matches!(whole, "" | "0" | "-1") {
        return Some(None);
    }
    let seconds = match whole.parse::<i64>() {
        Ok(seconds) => seconds.clamp(0, LAST_SECOND),
        // A number that is too large becomes the last possible time.
        Err(_) => LAST_SECOND,
    };
    OffsetDateTime::from_unix_timestamp(seconds).ok().map(Some)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn cookie(domain: &str, host_only: bool) -> FileCookie {
        FileCookie {
            name: "a".to_owned(),
            value: Zeroizing::new("1".to_owned()),
            domain: domain.to_owned(),
            host_only,
            path: "/".to_owned(),
            secure: false,
            expires: None,
        }
    }

    #[rstest]
    #[case::own_host("www.golf.example", true, true)]
    #[case::parent("golf.example", false, true)]
    #[case::host_only_parent("golf.example", true, false)]
    #[case::other_name_with_the_same_end("olf.example", false, false)]
    #[case::subdomain("a.www.golf.example", false, false)]
    #[case::other_host("tennis.example", false, false)]
    fn cookie_belongs_to_a_host_only_if_browsers_send_it_to_that_host(
        #[case] domain: &str,
        #[case] host_only: bool,
        #[case] expected: bool,
    ) {
        let cookie = cookie(domain, host_only);
        assert_eq!(cookie.belongs_to("www.golf.example"), expected);
    }

    #[rstest]
    #[case::empty("", Some(None))]
    #[case::zero("0", Some(None))]
    #[case::minus_one("-1", Some(None))]
    #[case::seconds("1900000000", Some(Some(1_900_000_000)))]
    #[case::fraction("1900000000.75", Some(Some(1_900_000_000)))]
    #[case::past("-5", Some(Some(0)))]
    #[case::far_future("99999999999999999999", Some(Some(LAST_SECOND)))]
    #[case::word("never", None)]
    #[case::plus_sign("+5", None)]
    #[case::minus_sign("-", None)]
    #[case::fraction_only(".5", None)]
    #[case::exponent("1e9", None)]
    fn cookie_expiry_in_a_file_is_a_number_of_seconds_and_0_and_minus_1_mean_no_expiry(
        #[case] text: &str,
        #[case] expected: Option<Option<i64>>,
    ) {
        let parsed = parse_expiry(text);
        let parsed = parsed.map(|time| time.map(OffsetDateTime::unix_timestamp));
        assert_eq!(parsed, expected);
    }

    #[test]
    fn debug_output_of_a_file_cookie_shows_none_of_its_fields() {
        let text = format!("{:?}", cookie("golf.example", true));
        assert_eq!(text, "FileCookie([redacted])");
    }
}
