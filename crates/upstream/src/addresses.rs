//! Rules for the addresses that the gateway may connect to.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use thiserror::Error;

use crate::site::Site;

/// Decides which addresses the gateway may connect to. By default, these are the public addresses
/// of the Internet, on port 443 only. Port 80 (`http` sites) and further networks can be allowed in
/// addition.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    allows_http: bool,
    allowed_networks: Vec<IpNet>,
}

/// Networks with addresses that are not public. Connections to these networks are allowed
/// nevertheless. The list is parsed from networks and single addresses, separated by commas.
///
/// ```
/// use tee_session_upstream::AllowedNetworks;
///
/// let networks: AllowedNetworks = "10.20.30.0/29, fd00:20:30::/64, 192.0.2.7".parse()?;
/// # Ok::<(), tee_session_upstream::InvalidNetwork>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedNetworks(Vec<IpNet>);

impl FromStr for AllowedNetworks {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty());
        entries.map(network).collect::<Result<_, _>>().map(Self)
    }
}

/// Parses a network or an address. Converts an IPv4-mapped IPv6 network to an IPv4 network. The
/// IPv4-mapped address of a site is also converted to IPv4, before it is compared with the network.
fn network(entry: &str) -> Result<IpNet, InvalidNetwork> {
    let network = entry.parse().or_else(|_| entry.parse().map(IpAddr::into));
    let network: IpNet = network.map_err(|_| InvalidNetwork)?;
    let IpNet::V6(v6) = network else {
        return Ok(network);
    };
    let Some(v4) = v6.addr().to_ipv4_mapped() else {
        return Ok(network);
    };
    // A prefix shorter than /96 would also contain other addresses than the mapped ones.
    let prefix = v6.prefix_len().checked_sub(96).ok_or(InvalidNetwork)?;
    let v4 = Ipv4Net::new(v4, prefix).map_err(|_| InvalidNetwork)?;
    Ok(v4.into())
}

/// Parse error for [`AllowedNetworks`]. `Display` states what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the networks must be written as 10.20.30.0/29, fd00:20:30::/64 or single addresses")]
pub struct InvalidNetwork;

/// Error: the gateway is not allowed to connect to the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ForbiddenAddress {
    /// The scheme of the site is `http`, which the settings do not allow.
    #[error("the base URL of the session must begin with https://")]
    Http,
    /// One of the site's addresses is not public and is in no allowed network. The address is only
    /// in the source of the error, because clients must not learn it.
    #[error("the site has an address that the gateway may not connect to")]
    Network(#[source] NonPublicAddress),
    /// The port is neither 443 nor (if `http` sites are allowed) 80, and an address of the site is
    /// in no allowed network.
    #[error("the gateway may not connect to the port of the site")]
    Port,
}

/// Source of [`ForbiddenAddress::Network`]: an address that is not public and is in no allowed
/// network. `Display` shows the address, so the text is for logs and not for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is neither public nor in an allowed network")]
pub struct NonPublicAddress(pub IpAddr);

impl AddressPolicy {
    /// If `allows_http` is `true`, also allows sites with the scheme `http`, on port 80.
    #[must_use]
    pub fn allow_http(mut self, allows_http: bool) -> Self {
        self.allows_http = allows_http;
        self
    }

    /// Allows connections to the addresses in `networks`, on every port, even if they are not
    /// public.
    #[must_use]
    pub fn allow_networks(mut self, networks: AllowedNetworks) -> Self {
        self.allowed_networks.extend(networks.0);
        self
    }

    /// Checks the scheme of a site. The check needs no addresses, so it runs before the host name
    /// is resolved.
    ///
    /// # Errors
    /// Fails if the scheme of the site is `http` and such sites are not allowed.
    pub fn check_scheme(&self, site: &Site) -> Result<(), ForbiddenAddress> {
        if site.is_https() || self.allows_http {
            Ok(())
        } else {
            Err(ForbiddenAddress::Http)
        }
    }

    /// Checks all addresses of a site. If one address is forbidden, the site is forbidden, because
    /// a connection could use any of the addresses.
    ///
    /// # Errors
    /// Returns the first rule that an address breaks.
    pub fn check(&self, addresses: &[IpAddr], port: u16) -> Result<(), ForbiddenAddress> {
        let is_web_port = port == 443 || (port == 80 && self.allows_http);
        for address in addresses {
            let address = address.to_canonical();
            if self
                .allowed_networks
                .iter()
                .any(|net| net.contains(&address))
            {
                continue;
            }
            if !self.is_public(address) {
                return Err(ForbiddenAddress::Network(NonPublicAddress(address)));
            }
            if !is_web_port {
                return Err(ForbiddenAddress::Port);
            }
        }
        Ok(())
    }

    fn is_public(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => {
                let mut embedded = embedded_v4(address);
                // The IPv4 address is checked too, because a NAT64 gateway or a tunnel would
                // forward the connection to it.
                embedded.all(|v4| {
                    let nets = &self.allowed_networks;
                    is_public_v4(v4) || nets.iter().any(|net| net.contains(&IpAddr::V4(v4)))
                }) && is_public_v6(address)
            }
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// IPv4 networks that are not public (RFC 6890, and the special-purpose address registry of IANA).
const FORBIDDEN_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 0, 8),       // this host
    v4(10, 0, 0, 0, 8),      // private
    v4(100, 64, 0, 0, 10),   // shared between customers of a provider
    v4(127, 0, 0, 0, 8),     // loopback
    v4(169, 254, 0, 0, 16),  // link-local, with the metadata services of clouds
    v4(172, 16, 0, 0, 12),   // private
    v4(192, 0, 0, 0, 24),    // protocol assignments
    v4(192, 0, 2, 0, 24),    // documentation
    v4(192, 88, 99, 0, 24),  // 6to4 relays
    v4(192, 168, 0, 0, 16),  // private
    v4(198, 18, 0, 0, 15),   // benchmarking
    v4(198, 51, 100, 0, 24), // documentation
    v4(203, 0, 113, 0, 24),  // documentation
    v4(224, 0, 0, 0, 4),     // multicast
    v4(240, 0, 0, 0, 4),     // reserved, with the broadcast address
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !FORBIDDEN_V4.iter().any(|net| net.contains(&address))
}

/// IPv6 network of the global unicast addresses. All other IPv6 addresses are forbidden, such as
/// loopback, unique local, link-local, site-local, multicast and reserved addresses.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

const FORBIDDEN_V6: [Ipv6Net; 3] = [
    v6(0x2001, 0, 0, 23), // protocol assignments: benchmarking, ORCHID and others
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x3fff, 0, 0, 20), // documentation
];

const TEREDO: Ipv6Net = v6(0x2001, 0, 0, 32);
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 0, 16);
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

fn is_public_v6(address: Ipv6Addr) -> bool {
    // NAT64 is allowed, because networks without IPv4 need it. The embedded IPv4 address is checked
    // above.
    NAT64.contains(&address)
        || TEREDO.contains(&address)
        || GLOBAL_V6.contains(&address) && !FORBIDDEN_V6.iter().any(|net| net.contains(&address))
}

/// Returns the IPv4 addresses that are embedded in an IPv6 address by NAT64 (RFC 6052), 6to4 (RFC
/// 3056) or Teredo (RFC 4380). Mapped addresses are not handled here, because `to_canonical`
/// converts them to IPv4 addresses. IPv4-compatible and IPv4-translated addresses are not handled
/// either: they are not global unicast addresses, so they are forbidden anyway.
fn embedded_v4(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [_, _, a, b, c, d, .., e, f, g, h] = address.octets();
    let [.., s0, s1, s2, s3, _, _, _, _, _, _, _, _] = address.octets();
    let nat64 = NAT64.contains(&address).then(|| Ipv4Addr::new(e, f, g, h));
    let six_to_four = SIX_TO_FOUR
        .contains(&address)
        .then(|| Ipv4Addr::new(a, b, c, d));
    let is_teredo = TEREDO.contains(&address);
    let teredo_server = is_teredo.then(|| Ipv4Addr::new(s0, s1, s2, s3));
    // Teredo stores the IPv4 address of the client with inverted bits.
    let teredo_client = is_teredo.then(|| Ipv4Addr::new(!e, !f, !g, !h));
    [nat64, six_to_four, teredo_server, teredo_client]
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests;
