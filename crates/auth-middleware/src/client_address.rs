//! Determines the address of the client that sent a request, even if the request passed through
//! trusted proxies.

use std::{net::IpAddr, str::FromStr, sync::Arc};

use actix_web::{HttpRequest, http::header::HeaderMap};
use ipnet::IpNet;
use thiserror::Error;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Networks of trusted proxies. The header field `X-Forwarded-For` is used only if a trusted proxy
/// sent the request.
///
/// The default is an empty list, because any peer can forge the header field. For the same reason,
/// a trusted network should contain only proxies.
///
/// The list is parsed from a text of networks and single addresses, separated by commas:
///
/// ```
/// use tee_session_auth_middleware::TrustedProxies;
///
/// let proxies: TrustedProxies = "10.20.30.0/29, fd00:20:30::/64, 192.0.2.7".parse()?;
/// # Ok::<(), tee_session_auth_middleware::InvalidNetwork>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// Returns the address of the client that sent a request. `peer` is the address of the
    /// connection's peer, and `headers` are the header fields of the request.
    ///
    /// If the peer is not a trusted proxy, the peer is the client. Otherwise, the client is the
    /// last address in `X-Forwarded-For` that does not belong to a trusted proxy. If all addresses
    /// in `X-Forwarded-For` belong to trusted proxies, the first address is the client.
    ///
    /// Returns `None` if `peer` is `None`, or if a trusted proxy sent no `X-Forwarded-For` address
    /// or a malformed address.
    #[must_use]
    pub fn client_address(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = peer?.to_canonical();
        if !self.trusts(peer) {
            return Some(peer);
        }
        // Each proxy appends the address of its own peer to `X-Forwarded-For`. The nearest proxy
        // has therefore appended the last entry, and the entries are read from the last to the
        // first.
        let fields: Vec<_> = headers.get_all(FORWARDED_FOR).collect();
        let mut farthest = None;
        for field in fields.into_iter().rev() {
            for entry in field.as_bytes().rsplit(|byte| *byte == b',') {
                let address = address_in(entry)?;
                if !self.trusts(address) {
                    return Some(address);
                }
                farthest = Some(address);
            }
        }
        farthest
    }

    /// Returns the network of the client that sent the request: an IPv4 address, or the first
    /// address of the /64 network of an IPv6 address. One household or machine usually owns a whole
    /// /64 network, so limits and log lines refer to the network. Returns `None` if the client's
    /// address is unknown.
    #[must_use]
    pub fn client_network(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr().map(|peer| peer.ip());
        self.client_address(peer, request.headers()).map(network_of)
    }

    /// Returns the network of the peer of a connection, as [`client_network`](Self::client_network)
    /// does. Returns `None` if the peer is a trusted proxy, because its connections carry the
    /// requests of many clients.
    #[must_use]
    pub fn untrusted_network(&self, peer: IpAddr) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        (!self.trusts(peer)).then(|| network_of(peer))
    }

    /// Returns `true` if the list contains every IPv4 address or every IPv6 address, so that any
    /// caller can claim any address.
    #[must_use]
    pub fn trusts_everyone(&self) -> bool {
        self.0.iter().any(|network| network.prefix_len() == 0)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Returns the address that identifies the client with the IP address `address`. For an IPv4
/// address, returns the address itself. For an IPv6 address, returns the first address of its /64
/// network.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

impl FromStr for TrustedProxies {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split(',').map(str::trim).filter(|e| !e.is_empty());
        let networks: Result<_, _> = entries.map(network).collect();
        networks.map(Self)
    }
}

/// Parse error for [`TrustedProxies`]. An entry of the list is neither an IP address nor a network,
/// or no connection can come from an address in the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the proxies must be IP addresses or networks such as 10.0.0.0/8, separated by commas, from which \
     connections can come"
)]
pub struct InvalidNetwork;

fn network(entry: &str) -> Result<IpNet, InvalidNetwork> {
    let address = entry.parse::<IpAddr>().map(IpNet::from);
    let network = address
        .or_else(|_| entry.parse())
        .map_err(|_| InvalidNetwork)?;
    // Converts an IPv4-mapped IPv6 network to an IPv4 network, because client addresses are
    // converted to IPv4 before they are compared with the network.
    match (network.addr().to_canonical(), network.prefix_len()) {
        (address @ IpAddr::V4(_), 96..) if network.max_prefix_len() == 128 => {
            IpNet::new(address, network.prefix_len() - 96).map_err(|_| InvalidNetwork)
        }
        // This network would match no client: IPv4-mapped addresses are converted to IPv4, and an
        // IPv4 address never matches an IPv6 network.
        (IpAddr::V4(_), _) if network.max_prefix_len() == 128 => Err(InvalidNetwork),
        _ => Ok(network),
    }
    .and_then(refuse_unusable)
}

/// Returns an error for multicast networks, the unspecified address and the broadcast address. No
/// connection can come from these addresses, so such an entry would never match.
fn refuse_unusable(network: IpNet) -> Result<IpNet, InvalidNetwork> {
    let is_single = network.prefix_len() == network.max_prefix_len();
    let first = network.network();
    let multicast_prefix_len = if first.is_ipv4() { 4 } else { 8 };
    let is_multicast = first.is_multicast() && network.prefix_len() >= multicast_prefix_len;
    let is_broadcast = first == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    if is_multicast || (is_single && (first.is_unspecified() || is_broadcast)) {
        return Err(InvalidNetwork);
    }
    Ok(network)
}

/// Parses one entry of `X-Forwarded-For`. Accepts an address with a port, and an IPv6 address in
/// brackets, because some proxies send these forms. Returns `None` if the entry is malformed.
fn address_in(entry: &[u8]) -> Option<IpAddr> {
    let entry = str::from_utf8(entry).ok()?.trim();
    let unbracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = entry.parse().ok().or_else(unbracketed);
    let with_port = || entry.parse().ok().map(|a: std::net::SocketAddr| a.ip());
    Some(address.or_else(with_port)?.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::{
        http::header::{HeaderName, HeaderValue},
        test::TestRequest,
    };
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const TRUSTED: &str = "10.0.0.0/8,fd00::/8,192.0.2.7";

    fn find_client(peer: &str, forwarded_for: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for field in forwarded_for {
            headers.append(
                HeaderName::from_static(FORWARDED_FOR),
                HeaderValue::from_str(field).unwrap(),
            );
        }
        let trusted: TrustedProxies = TRUSTED.parse().unwrap();
        let client = trusted.client_address(Some(peer.parse().unwrap()), &headers);
        client.map(|address| address.to_string())
    }

    #[rstest]
    #[case::ipv4("203.0.113.9", "203.0.113.9")]
    #[case::ipv6("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")]
    #[case::ipv4_as_ipv6("::ffff:203.0.113.9", "203.0.113.9")]
    fn client_network_is_an_ipv4_address_or_an_ipv6_prefix_of_64_bits(
        #[case] peer: IpAddr,
        #[case] expected: IpAddr,
    ) {
        let request = TestRequest::default().peer_addr((peer, 443).into());
        let network = TrustedProxies::default().client_network(&request.to_http_request());
        assert_eq!(network, Some(expected));
    }

    #[rstest]
    #[case::no_proxy("203.0.113.9", &[], "203.0.113.9")]
    #[case::spoofed_by_an_untrusted_peer("203.0.113.9", &["198.51.100.1"], "203.0.113.9")]
    #[case::through_a_proxy("10.1.2.3", &["198.51.100.1"], "198.51.100.1")]
    #[case::single_address_is_trusted("192.0.2.7", &["198.51.100.1"], "198.51.100.1")]
    #[case::spoofed_before_the_proxy("10.1.2.3", &["1.1.1.1, 198.51.100.1"], "198.51.100.1")]
    #[case::garbage_before_the_proxy("10.1.2.3", &["<x>, 198.51.100.1"], "198.51.100.1")]
    #[case::through_two_proxies("10.1.2.3", &["198.51.100.1, 10.9.9.9"], "198.51.100.1")]
    #[case::in_two_fields("10.1.2.3", &["198.51.100.1", "10.9.9.9"], "198.51.100.1")]
    #[case::last_field_counts("10.1.2.3", &["1.1.1.1", "198.51.100.1"], "198.51.100.1")]
    #[case::with_port("10.1.2.3", &["198.51.100.1:4711"], "198.51.100.1")]
    #[case::ipv6("fd00::1", &["2001:db8::1"], "2001:db8::1")]
    #[case::ipv6_in_brackets("fd00::1", &["[2001:db8::1]"], "2001:db8::1")]
    #[case::ipv6_with_port("fd00::1", &["[2001:db8::1]:443"], "2001:db8::1")]
    #[case::ipv4_in_ipv6("::ffff:10.1.2.3", &["::ffff:198.51.100.1"], "198.51.100.1")]
    #[case::client_is_a_proxy_itself("10.1.2.3", &["10.4.4.4, 10.9.9.9"], "10.4.4.4")]
    fn client_is_the_last_forwarded_address_that_is_not_a_trusted_proxy(
        #[case] peer: &str,
        #[case] forwarded_for: &[&str],
        #[case] expected: &str,
    ) {
        assert_eq!(find_client(peer, forwarded_for).as_deref(), Some(expected));
    }

    #[rstest]
    #[case::no_field(&[])]
    #[case::empty(&[""])]
    #[case::unknown(&["unknown"])]
    #[case::hidden(&["198.51.100.1, _hidden"])]
    fn client_is_unknown_if_a_trusted_proxy_sends_no_valid_address(#[case] forwarded_for: &[&str]) {
        assert_eq!(find_client("10.1.2.3", forwarded_for), None);
    }

    #[rstest]
    #[case::network("::ffff:10.0.0.0/104", "10.1.2.3")]
    #[case::address("::ffff:192.0.2.7", "192.0.2.7")]
    fn ipv4_mapped_ipv6_network_matches_ipv4_peer(#[case] text: &str, #[case] peer: &str) {
        let trusted: TrustedProxies = text.parse().unwrap();
        assert!(trusted.trusts(peer.parse().unwrap()));
        assert!(!trusted.trusts("203.0.113.9".parse().unwrap()));
    }

    #[rstest]
    #[case::client("203.0.113.9", Some("203.0.113.9"))]
    #[case::ipv6_client("2001:db8:1:2:3:4:5:6", Some("2001:db8:1:2::"))]
    #[case::proxy("10.1.2.3", None)]
    #[case::proxy_as_ipv6("::ffff:10.1.2.3", None)]
    #[case::ipv6_proxy("fd00::1", None)]
    fn peer_that_is_a_trusted_proxy_has_no_untrusted_network(
        #[case] peer: IpAddr,
        #[case] expected: Option<&str>,
    ) {
        let trusted: TrustedProxies = TRUSTED.parse().unwrap();
        let network = trusted.untrusted_network(peer);
        assert_eq!(network, expected.map(|network| network.parse().unwrap()));
    }

    #[rstest]
    #[case::every_ipv4_address("0.0.0.0/0", true)]
    #[case::every_ipv6_address("fd00::1,::/0", true)]
    #[case::every_ipv4_mapped_address("::ffff:0.0.0.0/96", true)]
    #[case::half_of_all("128.0.0.0/1", false)]
    #[case::none("", false)]
    fn list_with_a_network_of_all_addresses_trusts_everyone(
        #[case] text: &str,
        #[case] expected: bool,
    ) {
        let trusted: TrustedProxies = text.parse().unwrap();
        assert_eq!(trusted.trusts_everyone(), expected);
    }

    #[test]
    fn client_is_unknown_without_a_peer_address() {
        let trusted = TrustedProxies::default();
        assert_eq!(trusted.client_address(None, &HeaderMap::new()), None);
    }

    #[rstest]
    #[case::name("proxy.example")]
    #[case::prefix_too_long("10.0.0.0/33")]
    #[case::star("10.*")]
    #[case::unspecified_address("0.0.0.0")]
    #[case::unspecified_ipv6_address("::")]
    #[case::broadcast("255.255.255.255")]
    #[case::multicast("224.0.0.0/4")]
    #[case::multicast_ipv6("ff02::/16")]
    #[case::more_than_the_ipv4_mapped_addresses("::ffff:0.0.0.0/90")]
    #[case::one_of_several("10.0.0.0/8,x")]
    fn invalid_trusted_proxy_network_returns_a_parse_error(#[case] text: &str) {
        assert_eq!(text.parse::<TrustedProxies>().unwrap_err(), InvalidNetwork);
    }

    proptest! {
        #[test]
        fn parsing_any_forwarded_for_value_never_panics(field in "[ -~]{0,80}") {
            find_client("10.1.2.3", &[&field]);
        }
    }
}
