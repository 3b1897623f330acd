//! Establishment of connections to sites.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;
use url::Host;

use crate::{
    addresses::AddressPolicy,
    connect_error::ConnectError,
    error::UpstreamError,
    lookup::{Lookup, SharedLookup},
    site::Site,
    site_stream::{HeadBudget, SiteStream},
};

/// Maximum number of addresses of a site to which a connection is attempted.
const MAX_ADDRESSES: usize = 2;

/// Checks the addresses of a site, and connects to the site.
pub(crate) struct Connector {
    tls: TlsConnector,
    policy: AddressPolicy,
    lookup: SharedLookup,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(
        tls: Arc<ClientConfig>,
        policy: AddressPolicy,
        lookup: Arc<dyn Lookup>,
        timeout: Duration,
    ) -> Self {
        Self {
            tls: TlsConnector::from(tls),
            policy,
            lookup: SharedLookup::new(lookup),
            timeout,
        }
    }

    pub(crate) fn policy(&self) -> &AddressPolicy {
        &self.policy
    }

    /// Connects to `site`. Resolves the host name once, checks the addresses, and connects to one
    /// of these addresses. The name therefore cannot lead to another address after the check (DNS
    /// rebinding).
    pub(crate) async fn connect(
        &self,
        site: &Site,
        budget: Arc<HeadBudget>,
    ) -> Result<SiteStream, UpstreamError> {
        let until = Instant::now() + self.timeout;
        let connect = self.connect_until(site, budget, until);
        match timeout_at(until, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(UpstreamError::ConnectTimeout),
        }
    }

    async fn connect_until(
        &self,
        site: &Site,
        budget: Arc<HeadBudget>,
        until: Instant,
    ) -> Result<SiteStream, UpstreamError> {
        let addresses = self.checked_addresses(site).await?;
        let stream = self.open_socket(&addresses, site.port(), until).await?;
        // Requests are written at once, so Nagle's algorithm would only delay them.
        let _ = stream.set_nodelay(true);
        if !site.is_https() {
            return Ok(SiteStream::plain(stream, budget));
        }
        let stream = self.tls.connect(server_name(site)?, stream).await;
        let stream = stream.map_err(ConnectError::Tls)?;
        Ok(SiteStream::tls(stream, budget))
    }

    /// Returns the addresses of `site`, or an error if one of them is forbidden. If the host is an
    /// IP address, the same rules apply to this address.
    async fn checked_addresses(&self, site: &Site) -> Result<Arc<[IpAddr]>, UpstreamError> {
        let addresses: Arc<[IpAddr]> = match site.host() {
            Host::Ipv4(address) => Arc::new([(*address).into()]),
            Host::Ipv6(address) => Arc::new([(*address).into()]),
            Host::Domain(name) => {
                let found = self.lookup.addresses(name).await;
                found.map_err(ConnectError::Lookup)?
            }
        };
        self.policy.check(&addresses, site.port())?;
        if addresses.is_empty() {
            return Err(ConnectError::NoAddress.into());
        }
        Ok(addresses)
    }

    async fn open_socket(
        &self,
        addresses: &[IpAddr],
        port: u16,
        until: Instant,
    ) -> Result<TcpStream, UpstreamError> {
        let mut addresses = addresses.iter().take(MAX_ADDRESSES).peekable();
        let mut last = UpstreamError::from(ConnectError::NoAddress);
        while let Some(address) = addresses.next() {
            let now = Instant::now();
            // If an address does not answer, enough time must be left for the next address.
            let share = if addresses.peek().is_some() { 2 } else { 1 };
            let until = now + until.saturating_duration_since(now) / share;
            let connect = TcpStream::connect(SocketAddr::new(*address, port));
            last = match timeout_at(until, connect).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => ConnectError::Connect(error).into(),
                Err(_) => UpstreamError::ConnectTimeout,
            };
        }
        Err(last)
    }
}

fn server_name(site: &Site) -> Result<ServerName<'static>, ConnectError> {
    match site.host() {
        Host::Ipv4(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Ipv6(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_owned();
            ServerName::try_from(name).map_err(|_| ConnectError::ServerName)
        }
    }
}
