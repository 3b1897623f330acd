//! Parser for `Set-Cookie` lines (RFC 6265bis, section 5.6).

use time::{Duration, OffsetDateTime};

use super::{cookie_date::parse_cookie_date, rules::has_control};

/// Maximum length of the value of an attribute, in bytes. A longer attribute is ignored (section
/// 5.6).
const MAX_ATTRIBUTE_LEN: usize = 1_024;

/// A parsed `Set-Cookie` line. The attributes `HttpOnly`, `SameSite` and `Partitioned` are ignored,
/// because this service does not use them.
// The type implements `Debug` only in tests, because the value is a secret.
#[cfg_attr(test, derive(Debug))]
#[derive(PartialEq, Eq)]
pub(super) struct SetCookie<'a> {
    /// Name of the cookie. Empty if the line has no `=` before the first `;`.
    pub(super) name: &'a str,
    /// Value of the cookie, including quotes.
    pub(super) value: &'a str,
    pub(super) lifetime: Option<Lifetime>,
    /// Value of the attribute `Domain` in lower case and without a leading dot. `None` if the
    /// attribute is absent or empty.
    pub(super) domain: Option<String>,
    /// Value of the attribute `Path`. `None` if the attribute is absent, or does not begin with
    /// `/`.
    pub(super) path: Option<&'a str>,
    pub(super) is_secure: bool,
}

/// Lifetime of a cookie, as the attributes in its `Set-Cookie` line define it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Value of the attribute `Max-Age`: the time until the cookie expires. Zero or a negative
    /// value removes the cookie.
    MaxAge(Duration),
    /// Value of the attribute `Expires`: a time on the clock of the site.
    Expires(OffsetDateTime),
}

impl<'a> SetCookie<'a> {
    /// Parses the value of a `Set-Cookie` header field. Returns `None` if the line contains a
    /// control character other than TAB.
    // The crate `cookie` (0.18) is not used, because it differs from browsers. It rejects a line
    // without `=` and an empty name, but browsers store such lines as cookies without a name. It
    // accepts control characters and long attributes, an empty `Domain` does not replace an earlier
    // one, an empty `Max-Age` counts as the largest number, and it knows only four formats of dates.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        if has_control(line) {
            return None;
        }
        let mut parts = line.split(';');
        let pair = parts.next().unwrap_or_default();
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let mut cookie = Self {
            name: trim(name),
            value: trim(value),
            lifetime: None,
            domain: None,
            path: None,
            is_secure: false,
        };
        for attribute in parts {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            cookie.apply(trim(name), trim(value));
        }
        Some(cookie)
    }

    /// Applies an attribute. If an attribute is repeated, the last one counts. An invalid `Max-Age`
    /// or `Expires` is ignored.
    fn apply(&mut self, name: &str, value: &'a str) {
        if value.len() > MAX_ATTRIBUTE_LEN {
            return;
        }
        if name.eq_ignore_ascii_case("Expires") {
            // `Max-Age` has precedence over `Expires`.
            if let Some(time) = parse_cookie_date(value)
                && !matches!(self.lifetime, Some(Lifetime::MaxAge(_)))
            {
                self.lifetime = Some(Lifetime::Expires(time));
            }
        } else if name.eq_ignore_ascii_case("Max-Age") {
            if let Some(age) = parse_max_age(value) {
                self.lifetime = Some(Lifetime::MaxAge(age));
            }
        } else if name.eq_ignore_ascii_case("Domain") {
            let domain = value.strip_prefix('.').unwrap_or(value);
            self.domain = Some(domain.to_ascii_lowercase()).filter(|domain| !domain.is_empty());
        } else if name.eq_ignore_ascii_case("Path") {
            self.path = Some(value).filter(|path| path.starts_with('/'));
        } else if name.eq_ignore_ascii_case("Secure") {
            self.is_secure = true;
        }
    }
}

/// Removes spaces and tabs at both ends (WSP of RFC 5234).
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Parses the value of the attribute `Max-Age` (section 5.6.2). Returns `None` if the value is not
/// an integer. The absolute value is limited to `i64::MAX` seconds.
fn parse_max_age(value: &str) -> Option<Duration> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = digits.parse().unwrap_or(i64::MAX);
    let is_negative = digits.len() < value.len();
    Some(Duration::seconds(if is_negative {
        -seconds
    } else {
        seconds
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("a=1", "a", "1")]
    #[case::spaces(" a \t= 1 2 ;Path=/", "a", "1 2")]
    #[case::equals_in_value("a=b=c", "a", "b=c")]
    #[case::quotes_are_part_of_the_value("a=\"b c\"", "a", "\"b c\"")]
    #[case::no_equals("flag", "", "flag")]
    #[case::no_equals_but_attributes("flag; Path=/", "", "flag")]
    #[case::empty_name("=x", "", "x")]
    #[case::empty_value("a=", "a", "")]
    #[case::nothing("", "", "")]
    #[case::odd_name("gdpr[a b]:c=1", "gdpr[a b]:c", "1")]
    #[case::tab_inside("a=x\ty", "a", "x\ty")]
    #[case::unicode("größe=42 ⛳", "größe", "42 ⛳")]
    #[case::comma("a=1, b=2", "a", "1, b=2")]
    fn name_and_value_are_parsed_as_browsers_do(
        #[case] line: &str,
        #[case] name: &str,
        #[case] value: &str,
    ) {
        let cookie = SetCookie::parse(line).unwrap();
        assert_eq!((cookie.name, cookie.value), (name, value));
    }

    #[rstest]
    #[case::line_feed("a=1\nb")]
    #[case::nul("a=\0")]
    #[case::in_an_attribute("a=1; Path=/\u{7f}")]
    fn line_with_a_control_character_is_rejected(#[case] line: &str) {
        assert_eq!(SetCookie::parse(line), None);
    }

    fn attributes(line: &str) -> (Option<String>, Option<&str>, bool) {
        let cookie = SetCookie::parse(line).unwrap();
        (cookie.domain, cookie.path, cookie.is_secure)
    }

    #[rstest]
    #[case::none("a=1", None, None, false)]
    #[case::all(
        "a=1; Domain=Golf.Example; Path=/x; Secure",
        Some("golf.example"),
        Some("/x"),
        true
    )]
    #[case::any_case("a=1;dOMAIN=.g;pATH=/;sECURE=no", Some("g"), Some("/"), true)]
    #[case::last_one_counts(
        "a=1; Path=/x; Path=/y; Domain=a; Domain=b",
        Some("b"),
        Some("/y"),
        false
    )]
    #[case::last_one_is_invalid("a=1; Path=/x; Path=y; Domain=a; Domain=", None, None, false)]
    #[case::spaces("a=1 ; Domain = g ;  Path =/ x ", Some("g"), Some("/ x"), false)]
    #[case::too_long(&format!("a=1; Path=/x; Path=/{}", "y".repeat(1_024)), None, Some("/x"), false)]
    #[case::unknown("a=1; SameSite=None; Partitioned; HttpOnly; x", None, None, false)]
    fn attributes_of_set_cookie_lines_are_parsed_as_browsers_do(
        #[case] line: &str,
        #[case] domain: Option<&str>,
        #[case] path: Option<&str>,
        #[case] is_secure: bool,
    ) {
        let expected = (domain.map(str::to_owned), path, is_secure);
        assert_eq!(attributes(line), expected);
    }

    #[rstest]
    #[case::max_age("a=1; Max-Age=60", Some(60))]
    #[case::zero("a=1; Max-Age=0", Some(0))]
    #[case::negative("a=1; max-age=-7", Some(-7))]
    #[case::before_expires("a=1; Max-Age=60; Expires=Sun, 06 Nov 1994 08:49:37 GMT", Some(60))]
    #[case::after_expires("a=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Max-Age=60", Some(60))]
    #[case::too_large("a=1; Max-Age=99999999999999999999", Some(i64::MAX))]
    #[case::word("a=1; Max-Age=never", None)]
    #[case::fraction("a=1; Max-Age=1.5", None)]
    #[case::plus_sign("a=1; Max-Age=+1", None)]
    #[case::minus_sign_only("a=1; Max-Age=-", None)]
    #[case::empty("a=1; Max-Age=", None)]
    #[case::last_one_is_invalid("a=1; Max-Age=5; Max-Age=x", Some(5))]
    fn max_age_takes_precedence_over_expires(#[case] line: &str, #[case] seconds: Option<i64>) {
        let lifetime = SetCookie::parse(line).unwrap().lifetime;
        let expected = seconds.map(|seconds| Lifetime::MaxAge(Duration::seconds(seconds)));
        assert_eq!(lifetime, expected);
    }

    #[test]
    fn invalid_expires_is_ignored_and_the_last_valid_expires_is_used() {
        let line = "a=1; Expires=1 Jan 2030 00:00:00; Expires=2 Jan 2030 00:00:00; Expires=x";
        let Some(Lifetime::Expires(time)) = SetCookie::parse(line).unwrap().lifetime else {
            panic!("a time");
        };
        assert_eq!((time.year(), time.day()), (2030, 2));
    }

    proptest! {
        #[test]
        fn parsing_arbitrary_set_cookie_lines_does_not_panic(line in any::<String>()) {
            if let Some(cookie) = SetCookie::parse(&line) {
                prop_assert!(!cookie.name.contains(['=', ';']));
                prop_assert!(!cookie.value.contains(';'));
            }
        }
    }
}
