//! Address of the instance that `tee-session probe` checks.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use actix_web::http::Uri;
use rustls::{ClientConnection, pki_types::ServerName};

use super::tls::Trust;
use crate::settings::Listener;

const ALLOWED: &str = "the URL must be http:// or https:// with a host and optionally a port";

/// Address of an instance of the service, and the rule for accepting the certificate of this
/// instance.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Host name or IP address of the instance. An IPv6 address is stored without brackets.
    host: String,
    port: u16,
    /// Rule for accepting the TLS certificate of the instance; `None` selects plain HTTP.
    tls: Option<Trust>,
}

impl Target {
    /// Returns the address of the instance that runs on this machine with the settings `listener`.
    /// If the instance listens on all interfaces (`0.0.0.0` or `[::]`), uses the loopback address.
    pub(super) fn of(listener: Listener) -> Self {
        let ip = match listener.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self {
            host: ip.to_string(),
            port: listener.address.port(),
            tls: listener.uses_tls.then_some(Trust::Any),
        }
    }

    /// Parses the URL of an instance. Returns an error message if the URL has another scheme than
    /// `http` or `https`, has no host, or contains credentials, a path or a query.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| ALLOWED)?;
        let (tls, default_port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => (Some(Trust::Machine), 443),
            _ => return Err(ALLOWED),
        };
        let authority = uri.authority().ok_or(ALLOWED)?;
        let has_credentials = authority.as_str().contains('@');
        let has_path = uri.path_and_query().is_some_and(|path| path != "/");
        if has_credentials || has_path || authority.host().is_empty() {
            return Err(ALLOWED);
        }
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(default_port),
            tls,
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns host and port in the form `host:port`, as in a URL. An IPv6 address is enclosed in
    /// brackets.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    /// Returns the client side of a new TLS connection to the instance. Returns `None` if the
    /// instance is reached over plain HTTP.
    pub(super) fn tls_client(&self) -> anyhow::Result<Option<ClientConnection>> {
        let Some(trust) = &self.tls else {
            return Ok(None);
        };
        let name = ServerName::try_from(self.host.clone())?;
        Ok(Some(ClientConnection::new(trust.client_config()?, name)?))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::with_a_port("http://10.0.0.5:8000", "http://10.0.0.5:8000")]
    #[case::without_a_port("http://tee.example", "http://tee.example:80")]
    #[case::https("https://tee.example/", "https://tee.example:443")]
    #[case::ipv6("http://[::1]:8000", "http://[::1]:8000")]
    fn instance_url_is_parsed_with_its_port_or_the_default_port(
        #[case] url: &str,
        #[case] target: &str,
    ) {
        assert_eq!(Target::parse(url).unwrap().to_string(), target);
    }

    #[rstest]
    #[case::unsupported_scheme("ftp://tee.example")]
    #[case::no_scheme("tee.example:8000")]
    #[case::no_host("http://")]
    #[case::a_path("http://tee.example/health")]
    #[case::a_query("http://tee.example?x")]
    #[case::credentials("http://a:b@tee.example")]
    fn invalid_instance_url_is_rejected(#[case] url: &str) {
        assert_eq!(Target::parse(url).unwrap_err(), ALLOWED);
    }

    #[rstest]
    #[case::any_ipv4_address("0.0.0.0:8000", "http://127.0.0.1:8000")]
    #[case::any_ipv6_address("[::]:8000", "http://[::1]:8000")]
    #[case::specific_address("192.0.2.7:8000", "http://192.0.2.7:8000")]
    fn probe_connects_to_the_listen_address_or_to_loopback_if_the_address_is_unspecified(
        #[case] address: &str,
        #[case] target: &str,
    ) {
        let listener = Listener {
            address: address.parse().unwrap(),
            uses_tls: false,
        };
        assert_eq!(Target::of(listener).to_string(), target);
    }
}
