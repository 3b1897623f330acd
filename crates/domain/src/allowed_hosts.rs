//! List of the hosts that base URLs may contain.

use std::str::FromStr;

use thiserror::Error;
use url::Host;

use crate::{
    BaseUrl,
    base_url::{MAX_DNS_NAME_LEN, is_dns_name, without_trailing_dot},
};

/// Hosts that a base URL may contain. An empty list allows every host.
///
/// There are two kinds of entries. A host (`golf.example`, `127.0.0.1`, `[::1]`) allows exactly
/// that host. A dot followed by a name (`.golf.example`) allows every subdomain of the name, but
/// not the name itself. International host names are compared in their ASCII form. A dot at the end
/// of the host of a base URL is ignored.
///
/// ```
/// use tee_session_domain::{AllowedHosts, BaseUrl};
///
/// let allowed: AllowedHosts = "golf.example,.bücher.example".parse()?;
/// assert!(allowed.allows(&BaseUrl::new("https://golf.example/members")?));
/// assert!(allowed.allows(&BaseUrl::new("https://www.xn--bcher-kva.example")?));
/// assert!(!allowed.allows(&BaseUrl::new("https://evil-golf.example")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Exactly(String),
    /// Suffix of the allowed host names, including the leading dot, such as `.golf.example`.
    SubdomainOf(String),
}

impl AllowedHosts {
    /// Returns `true` if the list allows the host of `base_url`.
    #[must_use]
    pub fn allows(&self, base_url: &BaseUrl) -> bool {
        self.0.is_empty() || self.matching(base_url).is_some()
    }

    /// Returns the ASCII form of the entry that allows the host of `base_url`. Returns `None` if no
    /// entry allows the host or the list is empty.
    #[must_use]
    pub fn matching(&self, base_url: &BaseUrl) -> Option<&str> {
        let host = base_url.ascii_host().filter(|_| !self.0.is_empty())?;
        let host = without_trailing_dot(&host);
        self.0.iter().find_map(|entry| match entry {
            Entry::Exactly(allowed) => (allowed == host).then_some(allowed.as_str()),
            Entry::SubdomainOf(suffix) => {
                let is_below = host.len() > suffix.len() && host.ends_with(suffix.as_str());
                is_below.then_some(suffix.as_str())
            }
        })
    }

    /// Returns `true` if the list has no entry, so that it allows every host.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Parses a list of hosts separated by commas. An empty text gives an empty list, which allows
/// every host.
impl FromStr for AllowedHosts {
    type Err = InvalidAllowedHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        entries.map(parse_entry).collect::<Result<_, _>>().map(Self)
    }
}

fn parse_entry(entry: &str) -> Result<Entry, InvalidAllowedHost> {
    let ascii = |name: &str| match Host::parse(name) {
        Ok(Host::Domain(domain)) if !is_dns_name(&domain) || name.contains('%') => {
            Err(InvalidAllowedHost)
        }
        Ok(host) => Ok(host),
        Err(_) => Err(InvalidAllowedHost),
    };
    match entry.strip_prefix('.') {
        None => Ok(Entry::Exactly(ascii(entry)?.to_string())),
        Some(name) => match ascii(name)? {
            // A subdomain adds at least a character and a dot to the name. If the name leaves no
            // room for them, no host can ever match.
            Host::Domain(name) if name.len() + 2 > MAX_DNS_NAME_LEN => Err(InvalidAllowedHost),
            Host::Domain(name) => Ok(Entry::SubdomainOf(format!(".{name}"))),
            Host::Ipv4(_) | Host::Ipv6(_) => Err(InvalidAllowedHost),
        },
    }
}

/// Parse error: an entry of the list is not a host. `Display` states what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the hosts must be names such as golf.example, or .golf.example for its subdomains")]
pub struct InvalidAllowedHost;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::exact("golf.example", "https://golf.example/x", true)]
    #[case::upper_case("GOLF.example", "https://Golf.Example", true)]
    #[case::any_port("golf.example", "https://golf.example:8443", true)]
    #[case::second_entry("a.example, golf.example", "https://golf.example", true)]
    #[case::trailing_dot("golf.example", "https://golf.example./x", true)]
    #[case::trailing_dot_of_a_subdomain(".golf.example", "https://www.golf.example.", true)]
    #[case::trailing_dot_of_another_name("golf.example", "https://evil.example.", false)]
    #[case::subdomain_of_exact("golf.example", "https://www.golf.example", false)]
    #[case::longer_name("golf.example", "https://evil-golf.example", false)]
    #[case::name_as_prefix("golf.example", "https://golf.example.evil.example", false)]
    #[case::subdomain(".golf.example", "https://www.golf.example", true)]
    #[case::deep_subdomain(".golf.example", "https://a.b.golf.example", true)]
    #[case::the_name_itself(".golf.example", "https://golf.example", false)]
    #[case::no_dot_boundary(".golf.example", "https://evilgolf.example", false)]
    #[case::idn_by_unicode("bücher.example", "https://xn--bcher-kva.example", true)]
    #[case::idn_by_punycode("xn--bcher-kva.example", "https://BÜCHER.example", true)]
    #[case::homograph("golf.example", "https://g\u{043e}lf.example", false)]
    #[case::full_width_dot("golf.example", "https://golf\u{ff0e}example", true)]
    #[case::full_width_letter("golf.example", "https://\u{ff47}olf.example", true)]
    #[case::soft_hyphen("golf.example", "https://go\u{ad}lf.example", true)]
    #[case::ipv4_hexadecimal("127.0.0.1", "http://0x7f.1", true)]
    #[case::ipv4_octal("127.0.0.1", "http://0177.0.0.1", true)]
    #[case::ipv4_short("127.0.0.1", "http://127.1", true)]
    #[case::ipv4_in_ipv6("127.0.0.1", "http://[::ffff:127.0.0.1]", false)]
    #[case::loopback("golf.example", "http://127.0.0.1", false)]
    #[case::localhost("golf.example", "http://localhost", false)]
    #[case::ipv6_loopback("golf.example", "http://[::1]", false)]
    #[case::link_local("golf.example", "http://169.254.169.254", false)]
    #[case::private_network("golf.example", "http://10.0.0.1", false)]
    #[case::shared_address("golf.example", "http://100.64.0.1", false)]
    #[case::unique_local("golf.example", "http://[fc00::1]", false)]
    #[case::metadata_name("golf.example", "http://metadata.google.internal", false)]
    #[case::ipv4("127.0.0.1", "http://127.0.0.1:3000", true)]
    #[case::ipv4_in_another_spelling("127.0.0.1", "http://2130706433", true)]
    #[case::ipv6("[::1]", "http://[0:0::1]", true)]
    #[case::in_the_query("golf.example", "https://evil.example/?golf.example", false)]
    fn base_url_is_allowed_only_if_a_listed_host_matches_in_ascii_form(
        #[case] allowed: &str,
        #[case] url: &str,
        #[case] expected: bool,
    ) {
        let allowed: AllowedHosts = allowed.parse().unwrap();
        assert_eq!(allowed.allows(&BaseUrl::new(url).unwrap()), expected);
    }

    #[test]
    fn empty_host_list_allows_every_host() {
        for none in ["", " , "] {
            let allowed: AllowedHosts = none.parse().unwrap();
            assert!(allowed.allows(&BaseUrl::new("http://anywhere.example").unwrap()));
        }
    }

    #[rstest]
    #[case::url("https://golf.example")]
    #[case::with_path("golf.example/x")]
    #[case::with_port("golf.example:80")]
    #[case::star("*.golf.example")]
    #[case::only_a_dot(".")]
    #[case::subdomain_of_an_address(".127.0.0.1")]
    #[case::space("golf example")]
    #[case::no_room_for_a_subdomain(&format!(".{}", ["a"; 127].join(".")))]
    fn invalid_host_list_entry_is_rejected(#[case] entry: &str) {
        assert_eq!(entry.parse::<AllowedHosts>(), Err(InvalidAllowedHost));
    }
}
