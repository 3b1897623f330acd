//! Network addresses of Redis servers and sentinels.

use std::fmt;

/// Host and port on which a Redis server or a sentinel listens.
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

    /// Parses the address `host:port` in a redirection (MOVED or ASK). Returns `None` if `text` has
    /// another form.
    ///
    /// A server that does not know its own host name sends an empty host or `?`. In that case, the
    /// returned address has the host `contacted_host`: the host of the server that sent the
    /// redirection.
    pub(crate) fn parse(text: &str, contacted_host: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() || host == "?" {
            contacted_host
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
    #[case::empty_host(":7001", Some(at("contacted", 7_001)))]
    #[case::unknown_host("?:7001", Some(at("contacted", 7_001)))]
    #[case::no_port("redis-3", None)]
    #[case::invalid_port("redis-3:x", None)]
    fn redirection_address_is_parsed_and_gets_the_contacted_host_if_it_names_no_host(
        #[case] text: &str,
        #[case] expected: Option<Address>,
    ) {
        assert_eq!(Address::parse(text, "contacted"), expected);
    }
}
