//! Diagnosis of a failed attempt to connect. The client library fred does not report which step
//! failed, so the diagnosis tries name resolution, TCP and TLS one after the other.

use std::{io, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::handshake::{ConnectFault, resolve};
use crate::{
    RedisFault, RedisSettings,
    deployment::{Deployment, Server},
};

/// Timeout for the TCP step and for the TLS step of the diagnosis.
const STEP_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Returns a more exact reason for a failed attempt to connect. If `fault` is a timeout or a
/// disconnect, tries each step of connecting and returns the fault of the first step that fails. If
/// no step fails, or for any other `fault`, returns `fault` unchanged.
pub(super) async fn explain(settings: &RedisSettings, fault: ConnectFault) -> ConnectFault {
    match fault {
        ConnectFault::Redis(RedisFault::TimedOut { .. } | RedisFault::Disconnected { .. }) => {
            try_each_step(settings).await.err().unwrap_or(fault)
        }
        fault => fault,
    }
}

/// Tries name resolution, TCP and TLS in this order, and returns the first failure. Sends no
/// command to Redis. If the settings name several servers, tries nothing and returns `Ok`.
async fn try_each_step(settings: &RedisSettings) -> Result<(), ConnectFault> {
    let address = match &settings.deployment {
        Deployment::One(Server::Tcp(address)) => address,
        Deployment::One(Server::Unix(path)) => {
            let connected = UnixStream::connect(path).await;
            return connected.map(drop).map_err(ConnectFault::Unreachable);
        }
        Deployment::Sentinel { .. } | Deployment::Cluster(_) => return Ok(()),
    };
    let addresses = resolve(address).await?;
    let connected = timeout(STEP_TIMEOUT, TcpStream::connect(addresses.as_slice())).await;
    let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = connected.map_err(ConnectFault::Unreachable)?;
    let Some(tls) = &settings.tls else {
        return Ok(());
    };
    let config = Arc::new(tls.client_config()?);
    let name = ServerName::try_from(address.host.clone());
    let name = name.map_err(|_| ConnectFault::TlsServerName(address.host.clone()))?;
    let encrypted = TlsConnector::from(config).connect(name, stream);
    match timeout(STEP_TIMEOUT, encrypted).await {
        Ok(Err(fault)) => Err(ConnectFault::TlsHandshake(fault)),
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}
