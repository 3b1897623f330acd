//! Whom a probe asks.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use actix_web::http::Uri;
use rustls::{ClientConnection, pki_types::ServerName};

use super::tls::Trust;
use crate::settings::Listener;

const ALLOWED: &str = "must be http:// or https:// with a host, and perhaps a port";

/// An instance, and how to know that it is the one.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// A name or an address, without brackets.
    host: String,
    port: u16,
    /// `None`: plain HTTP.
    tls: Option<Trust>,
}

impl Target {
    /// The instance with these settings, asked from its own machine.
    pub(super) fn of(listener: Listener) -> Self {
        let ip = match listener.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self {
            host: ip.to_string(),
            port: listener.address.port(),
            tls: listener.speaks_tls.then_some(Trust::Any),
        }
    }

    /// The instance that a URL names.
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

    /// Host and port as they stand in a URL.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    /// The TLS side of a connection to it, if it speaks TLS.
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
    fn a_url_names_host_and_port(#[case] url: &str, #[case] target: &str) {
        assert_eq!(Target::parse(url).unwrap().to_string(), target);
    }

    #[rstest]
    #[case::another_scheme("ftp://tee.example")]
    #[case::no_scheme("tee.example:8000")]
    #[case::no_host("http://")]
    #[case::a_path("http://tee.example/health")]
    #[case::a_query("http://tee.example?x")]
    #[case::credentials("http://a:b@tee.example")]
    fn what_is_no_address_of_an_instance_is_refused(#[case] url: &str) {
        assert_eq!(Target::parse(url).unwrap_err(), ALLOWED);
    }

    #[rstest]
    #[case::everywhere("0.0.0.0:8000", "http://127.0.0.1:8000")]
    #[case::everywhere_ipv6("[::]:8000", "http://[::1]:8000")]
    #[case::one_address("192.0.2.7:8000", "http://192.0.2.7:8000")]
    fn an_instance_is_asked_where_it_listens(#[case] address: &str, #[case] target: &str) {
        let listener = Listener {
            address: address.parse().unwrap(),
            speaks_tls: false,
        };
        assert_eq!(Target::of(listener).to_string(), target);
    }
}
