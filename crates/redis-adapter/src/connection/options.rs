//! The options of fred, each set on purpose.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use fred::{
    socket2::TcpKeepalive,
    types::{
        Builder, RespVersion,
        config::{
            Config, ConnectionConfig, PerformanceConfig, Server, ServerConfig, TcpConfig,
            TlsConnector, UnresponsiveConfig,
        },
    },
};
use rustls::ClientConfig;

use crate::{RedisSettings, credentials::Login};

/// Limits TCP and TLS for one address.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Limits the commands with which fred itself begins a connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time after which the kernel gives up on a peer that acknowledges nothing.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);

/// Capacity of the queue of invalidations. A feed that falls behind by more is lost.
const INVALIDATIONS: usize = 1_024;

/// The server that one client connects to.
pub(super) enum Target<'a> {
    Tcp {
        address: SocketAddr,
        tls: Option<(Arc<ClientConfig>, &'a str)>,
    },
    Unix(&'a Path),
}

/// Returns what makes a client for one attempt to connect to `target`.
pub(super) fn builder(
    settings: &RedisSettings,
    login: Option<Login>,
    target: Target<'_>,
    is_feed: bool,
) -> Builder {
    let mut builder = Builder::from_config(config(login, target, is_feed));
    builder
        .set_connection_config(connection_config())
        .set_performance_config(PerformanceConfig {
            default_command_timeout: settings.command_timeout,
            broadcast_channel_capacity: INVALIDATIONS,
            ..PerformanceConfig::default()
        });
    builder
}

fn config(login: Option<Login>, target: Target<'_>, is_feed: bool) -> Config {
    let (username, password) = login.map_or((None, None), |login| {
        (login.username, Some(login.password.as_str().to_owned()))
    });
    let mut config = Config {
        // One attempt, then a result: the supervisor decides about the next one.
        fail_fast: true,
        username,
        password,
        // Invalidations arrive as pushes, which RESP2 does not have.
        version: if is_feed {
            RespVersion::RESP3
        } else {
            RespVersion::RESP2
        },
        ..Config::default()
    };
    config.server = match target {
        Target::Unix(path) => ServerConfig::Unix { path: path.into() },
        Target::Tcp { address, tls } => {
            let ip = address.ip();
            let host = match ip {
                IpAddr::V4(_) => ip.to_string(),
                IpAddr::V6(_) => format!("[{ip}]"),
            };
            let mut server = Server::new(host, address.port());
            if let Some((tls, name)) = tls {
                let tls = tokio_rustls::TlsConnector::from(tls);
                config.tls = Some(TlsConnector::from(tls).into());
                server.tls_server_name = Some(name.into());
            }
            ServerConfig::Centralized { server }
        }
    };
    config
}

fn connection_config() -> ConnectionConfig {
    ConnectionConfig {
        connection_timeout: CONNECT_TIMEOUT,
        internal_command_timeout: HANDSHAKE_TIMEOUT,
        // A bounded queue that is full loses fred's own messages, and its task ends unseen.
        max_command_buffer_len: 0,
        max_command_attempts: 1,
        auto_client_setname: false,
        // `Trouble` ends the connection at such errors, after their caller has got them.
        reconnect_on_auth_error: false,
        // The heartbeats of the supervisor do this: fred's check sees nothing while it writes.
        unresponsive: UnresponsiveConfig {
            max_timeout: None,
            ..UnresponsiveConfig::default()
        },
        tcp: TcpConfig {
            // fred gathers commands by itself, and Nagle would add its delay to that.
            nodelay: Some(true),
            keepalive: Some(
                TcpKeepalive::new()
                    .with_time(Duration::from_secs(15))
                    .with_interval(Duration::from_secs(5))
                    .with_retries(3),
            ),
            user_timeout: Some(TCP_USER_TIMEOUT),
            ..TcpConfig::default()
        },
        ..ConnectionConfig::default()
    }
}
