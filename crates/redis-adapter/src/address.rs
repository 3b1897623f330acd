//! Where a server listens, as other servers tell it.

use std::fmt;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let host = host.to_owned();
        Self { host, port }
    }

    /// `host:port`, as redirections give it. A server that does not know its own name leaves the
    /// host out: it is the one that was `asked`.
    pub(crate) fn parse(text: &str, asked: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() || host == "?" {
            asked
        } else {
            host
        };
        Some(Self::new(host, port.parse().ok()?))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address::new(host, port)
    }

    #[rstest]
    #[case::name("redis-3:7001", Some(at("redis-3", 7_001)))]
    #[case::ipv6("::1:7001", Some(at("::1", 7_001)))]
    #[case::no_host(":7001", Some(at("asked", 7_001)))]
    #[case::host_not_told("?:7001", Some(at("asked", 7_001)))]
    #[case::no_port("redis-3", None)]
    #[case::bad_port("redis-3:x", None)]
    fn addresses_of_redirections(#[case] text: &str, #[case] expected: Option<Address>) {
        assert_eq!(Address::parse(text, "asked"), expected);
    }
}
