//! Configuration of the Redis client library fred: server, credentials, timeouts and socket
//! options.

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

/// Timeout for name resolution, and for connecting to one address (TCP and TLS).
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Timeout for the commands that the client library fred itself sends on a new connection, such as
/// `AUTH`.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// Time after which the kernel closes a connection if the peer does not acknowledge sent data.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);

/// Capacity of the queue of received invalidations (notifications of changed keys). If the queue
/// overflows, the connection that receives invalidations is ended.
const INVALIDATIONS: usize = 1_024;

/// Address of the server to connect to: TCP with or without TLS, or a Unix socket.
pub(super) enum Target<'a> {
    Tcp {
        address: SocketAddr,
        /// TLS configuration, and the server name that the server certificate must contain. `None`
        /// without TLS.
        tls: Option<(Arc<ClientConfig>, &'a str)>,
    },
    Unix(&'a Path),
}

/// Returns a builder for a client of the library fred that makes one attempt to connect to
/// `target`. If `is_feed` is `true`, the client uses RESP3, because RESP2 cannot push notifications
/// of changed keys.
pub(super) fn builder(
    settings: &RedisSettings,
    login: Option<Login>,
    target: Target<'_>,
    is_feed: bool,
) -> Builder {
    let mut builder = Builder::from_config(config(login, target, is_feed));
    // No reconnection policy is set, so fred does not reconnect.
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
        // fred makes only one attempt to connect. The supervisor starts each further attempt.
        fail_fast: true,
        username,
        password,
        // The invalidation feed needs RESP3, because RESP2 has no push messages.
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
        // 0 means an unbounded queue. If a bounded queue were full, fred would drop internal
        // messages, and the task of fred would end without an error.
        max_command_buffer_len: 0,
        max_command_attempts: 1,
        auto_client_setname: false,
        // fred must not reconnect after an authentication error. Instead, the caller receives the
        // error, and then `EndRequest` ends the connection.
        reconnect_on_auth_error: false,
        // fred's check for an unresponsive server is off, because the check does not run while fred
        // writes. The supervisor sends heartbeats instead.
        unresponsive: UnresponsiveConfig {
            max_timeout: None,
            ..UnresponsiveConfig::default()
        },
        tcp: TcpConfig {
            // The Nagle algorithm is off. fred already combines commands into one write, so the
            // algorithm would only add a delay.
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
