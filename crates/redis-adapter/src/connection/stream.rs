//! The way to a server: TCP or a Unix socket, and TLS over it.

use std::{io, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{RedisTls, RedisTlsError, address::Address, deployment::Server};

/// Bounds name resolution, and TCP to all addresses of a name.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// A server may be as far away.
const LEAST_SHARE: Duration = Duration::from_millis(500);

/// The kernel gives up on a peer that acknowledges nothing for so long.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);

/// What bytes go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialFault {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No address is known for the name.
    #[error(transparent)]
    Unresolved(io::Error),
    /// The two did not agree on TLS.
    #[error(transparent)]
    Handshake(io::Error),
    #[error("it took too long")]
    TooLong,
    #[error(transparent)]
    Tls(#[from] RedisTlsError),
    #[error("{0} cannot be the name of a server in a certificate")]
    Name(String),
}

/// One attempt.
pub(super) async fn dial(
    server: &Server,
    tls: Option<&RedisTls>,
) -> Result<Box<dyn Stream>, DialFault> {
    let address = match server {
        Server::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        Server::Tcp(address) => address,
    };
    let stream = timeout(CONNECT_TIMEOUT, connect(address))
        .await
        .map_err(|_| DialFault::TooLong)??;
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    let config = Arc::new(tls.client_config()?);
    let name = ServerName::try_from(address.host.clone());
    let name = name.map_err(|_| DialFault::Name(address.host.clone()))?;
    let encrypted = TlsConnector::from(config).connect(name, stream).await;
    Ok(Box::new(encrypted.map_err(DialFault::Handshake)?))
}

/// Tries the addresses of a name one after the other: each has its share of the time, so that one
/// that swallows everything does not stand in the way of the others.
async fn connect(address: &Address) -> Result<TcpStream, DialFault> {
    let found = lookup_host((address.host.as_str(), address.port)).await;
    let found: Vec<_> = found.map_err(DialFault::Unresolved)?.collect();
    let share = CONNECT_TIMEOUT / u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
    let share = share.max(LEAST_SHARE);
    let mut fault = DialFault::Io(io::ErrorKind::NotFound.into());
    for address in found {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(set(stream)?),
            Ok(Err(error)) => fault = error.into(),
            Err(_) => fault = DialFault::TooLong,
        }
    }
    Err(fault)
}

fn set(stream: TcpStream) -> io::Result<TcpStream> {
    // Commands are gathered before they are written: Nagle would add its delay to that.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(Duration::from_secs(15))
            .with_interval(Duration::from_secs(5))
            .with_retries(3),
    )?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))?;
    Ok(stream)
}
