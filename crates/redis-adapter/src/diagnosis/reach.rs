//! The way to a server, tried step by step: its name, its address, TLS.

use std::{io, sync::Arc, time::Duration};

use rustls::{CertificateError, pki_types::ServerName};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::finding::{Check, Finding};
use crate::{
    RedisSettings,
    address::Address,
    connection::resolve,
    deployment::{Deployment, Server},
};

/// Limits each step.
const STEP_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Returns the step that fails, if one does. Nothing is sent to Redis.
pub(super) async fn obstacle(settings: &RedisSettings, server: &str) -> Option<Finding> {
    let error =
        |what: String, advice: &str| Some(Finding::error(Check::Connection, server, what, advice));
    let address = match &settings.deployment {
        Deployment::One(Server::Tcp(address)) => address,
        Deployment::One(Server::Unix(path)) => {
            return match UnixStream::connect(path).await {
                Ok(_) => None,
                Err(fault) => unreachable(server, &fault),
            };
        }
        Deployment::Sentinel { .. } | Deployment::Cluster(_) => return None,
    };
    let addresses = match resolve(address).await {
        Ok(addresses) => addresses,
        Err(fault) => {
            return error(
                format!("the name in {server} does not resolve: {fault}"),
                "mend the host in the Redis URL, or what resolves names on this machine",
            );
        }
    };
    let connected = timeout(STEP_TIMEOUT, TcpStream::connect(addresses.as_slice()));
    let stream = match connected.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(fault)) => return unreachable(server, &fault),
        Err(_) => {
            return error(
                format!("{server} cannot be reached: nothing came back"),
                "mend the host and port in the Redis URL, or let connections through: a firewall, a \
                 network policy or a security group drops them",
            );
        }
    };
    match encrypt(settings, address, stream).await? {
        Ok(()) => None,
        Err(fault) => {
            let (what, advice) = no_tls(&fault, settings);
            error(format!("TLS with {server} fails: {what}"), advice)
        }
    }
}

/// Returns `None` without TLS, and if the other side says nothing.
async fn encrypt(
    settings: &RedisSettings,
    address: &Address,
    stream: TcpStream,
) -> Option<io::Result<()>> {
    let config = settings.tls.as_ref()?.client_config().ok()?;
    let name = ServerName::try_from(address.host.clone());
    let name = match name {
        Ok(name) => name,
        Err(fault) => return Some(Err(io::Error::new(io::ErrorKind::InvalidInput, fault))),
    };
    let encrypted = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let encrypted = timeout(STEP_TIMEOUT, encrypted).await.ok()?;
    Some(encrypted.map(drop))
}

fn unreachable(server: &str, fault: &io::Error) -> Option<Finding> {
    let what = format!("{server} cannot be reached: {fault}");
    Some(Finding::error(
        Check::Connection,
        server,
        what,
        out_of_reach(fault),
    ))
}

fn out_of_reach(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "start Redis there, or mend the host and port in the Redis URL; if it runs, look at bind \
             and port in its configuration"
        }
        io::ErrorKind::NotFound => {
            "mend the path in the Redis URL, or set unixsocket in the configuration of Redis"
        }
        io::ErrorKind::PermissionDenied => {
            "let the user that the service runs as use the socket: unixsocketperm in the \
             configuration of Redis, and the permissions of the folder"
        }
        _ => "mend the host and port in the Redis URL, or the way there",
    }
}

/// What TLS says, and what to do about it.
fn no_tls(error: &io::Error, settings: &RedisSettings) -> (String, &'static str) {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let advice = match inner {
        Some(rustls::Error::InvalidCertificate(reason)) => match reason {
            CertificateError::UnknownIssuer | CertificateError::BadSignature
                if settings.trusts_machine_only() =>
            {
                "name the authority that issued the certificate of Redis: redis_tls_ca_file"
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "redis_tls_ca_file must hold the authority that issued the certificate of Redis"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "put a name that stands in the certificate into the Redis URL, or have Redis show a \
                 certificate for the name that stands there"
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "renew the certificate of Redis; if it is a new one, set this machine's clock"
            }
            _ => "have Redis show a sound certificate",
        },
        Some(rustls::Error::InvalidMessage(_)) => {
            "this port speaks no TLS: take the tls-port of Redis, or a URL that begins with redis: in \
             place of rediss:"
        }
        _ => "see whether this port of Redis speaks TLS (tls-port)",
    };
    let what = inner.map_or_else(|| error.to_string(), ToString::to_string);
    (what, advice)
}
