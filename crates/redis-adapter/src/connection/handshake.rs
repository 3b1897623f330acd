//! An attempt to connect to one server: tries each address of the server, authenticates, and reads
//! the version and the run id of the server.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tee_session_domain::StoreInstance;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use super::{
    breaker::Breaker,
    call::Call,
    client::{Client, ClientTask},
    command::Command,
    fred_error::fault,
    options::{CONNECT_TIMEOUT, Target},
    server_settings::value_in,
    version::{OLDEST_VERSION, Version},
};
use crate::{
    RedisFault, RedisSettings, RedisTlsError,
    address::Address,
    credentials::Login,
    deployment::{Deployment, Server},
    error::{NO_PERMISSION, UNKNOWN_COMMAND},
};

/// Timeout for an attempt to connect to one server. The timeout covers all addresses of the server.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Timeout for the first call on a new connection, such as the check that the server is a primary.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// Minimum connect timeout for each resolved address.
const MIN_ADDRESS_TIMEOUT: Duration = Duration::from_millis(500);

/// A client whose handshake has succeeded, with the identity of its server.
pub(super) struct Connected {
    pub(super) client: Arc<Client>,
    pub(super) task: ClientTask,
    pub(super) identity: Identity,
}

/// Connects to the server in `settings`, and calls `send` with a handle that can send commands.
/// Closes the connection when `send` has finished, and returns the result of `send`.
pub(crate) async fn call_once<T>(
    settings: &RedisSettings,
    send: impl AsyncFnOnce(Call) -> Result<T, RedisFault>,
) -> Result<T, ConnectFault> {
    let connected = connect(settings, &Breaker::without_metrics(), false).await?;
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let call = Call::uncounted(Arc::clone(&connected.client), deadline);
    send(call).await.map_err(ConnectFault::Redis)
}

/// Makes one attempt to connect to the server in `settings`. Tries the resolved addresses of the
/// server in order until a connection is established. If no address can be used, returns the fault
/// of the last address.
pub(super) async fn connect(
    settings: &RedisSettings,
    breaker: &Arc<Breaker>,
    is_feed: bool,
) -> Result<Connected, ConnectFault> {
    let attempt = connect_to_any(settings, breaker, is_feed);
    let attempt = timeout(ATTEMPT_TIMEOUT, Box::pin(attempt)).await;
    attempt.unwrap_or_else(|_| {
        let command = "connect";
        Err(ConnectFault::Redis(RedisFault::TimedOut { command }))
    })
}

async fn connect_to_any(
    settings: &RedisSettings,
    breaker: &Arc<Breaker>,
    is_feed: bool,
) -> Result<Connected, ConnectFault> {
    let Deployment::One(server) = &settings.deployment else {
        return Err(ConnectFault::SeveralServers);
    };
    let login = settings.credentials.current().await;
    let address = match server {
        Server::Unix(path) => {
            return connect_to(settings, login, Target::Unix(path), breaker, is_feed).await;
        }
        Server::Tcp(address) => address,
    };
    let found = resolve(address).await?;
    // The addresses share the connect timeout. An address that does not respond therefore leaves
    // time for the other addresses.
    let share = CONNECT_TIMEOUT / u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
    let share = share.max(MIN_ADDRESS_TIMEOUT);
    let has_others = found.len() > 1;
    let tls = settings.tls.as_ref().map(|tls| tls.client_config());
    let tls = tls.transpose()?.map(Arc::new);
    let mut fault = ConnectFault::Unresolved(io::ErrorKind::NotFound.into());
    for address_found in found {
        if has_others {
            let reached = timeout(share, TcpStream::connect(address_found)).await;
            let reached = reached.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            if let Err(failed) = reached {
                fault = ConnectFault::Unreachable(failed);
                continue;
            }
        }
        let target = Target::Tcp {
            address: address_found,
            tls: tls.clone().map(|tls| (tls, address.host.as_str())),
        };
        match connect_to(settings, login.clone(), target, breaker, is_feed).await {
            Ok(connected) => return Ok(connected),
            Err(failed) => fault = failed,
        }
    }
    Err(fault)
}

/// Resolves the host name of `address` to socket addresses.
pub(super) async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, ConnectFault> {
    let found = timeout(
        CONNECT_TIMEOUT,
        lookup_host((address.host.as_str(), address.port)),
    );
    let found = found
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    Ok(found.map_err(ConnectFault::Unresolved)?.collect())
}

async fn connect_to(
    settings: &RedisSettings,
    login: Option<Login>,
    target: Target<'_>,
    breaker: &Arc<Breaker>,
    is_feed: bool,
) -> Result<Connected, ConnectFault> {
    // First command that fred itself sends on the connection. If Redis replies with an error during
    // the attempt to connect, the error is the reply to this command.
    let first = match (&login, is_feed) {
        (_, true) => "HELLO",
        (Some(_), false) => "AUTH",
        (None, false) => "PING",
    };
    let (client, mut task) = Client::start(settings, login, target, is_feed, Arc::clone(breaker))
        .map_err(ConnectFault::Redis)?;
    tokio::select! {
        biased;
        ended = &mut task.fred => Err(ConnectFault::Redis(match ended {
            Ok(Err(error)) if RedisFault::has_code(error.details()) => fault(first, &error),
            Ok(Err(error)) => fault("connect", &error),
            _ => RedisFault::Disconnected {
                command: "connect",
                reason: "the connection ended before the handshake was complete".to_owned(),
            },
        })),
        identity = shake_hands(settings, &client) => Ok(Connected {
            identity: identity.map_err(ConnectFault::Redis)?,
            client,
            task,
        }),
    }
}

/// Waits until the client is connected, selects the database (`SELECT`), and reads the identity of
/// the server (`INFO`).
///
/// The client library fred could also select the database. However, fred accepts no database number
/// above 255, and the error of fred does not name `SELECT`.
async fn shake_hands(
    settings: &RedisSettings,
    client: &Arc<Client>,
) -> Result<Identity, RedisFault> {
    let deadline = Instant::now() + ATTEMPT_TIMEOUT;
    let call = Call::uncounted(Arc::clone(client), deadline).waiting_for_connection();
    if let Some(number) = settings.database.filter(|number| *number != 0) {
        let number = number.to_string();
        let number = [number.as_bytes()];
        let [reply] = call.send([Command::new("SELECT", &number)]).await?;
        reply.done("SELECT")?;
    }
    let [info] = call.send([Command::new("INFO", &[b"server"])]).await?;
    match info.text("INFO") {
        Ok(info) => Ok(Identity::of(&info)),
        // `INFO` is optional. The service can store sessions even if the Redis user lacks the
        // permission for `INFO` or the server does not know `INFO`.
        Err(RedisFault::Refused { code, .. })
            if [NO_PERMISSION, UNKNOWN_COMMAND, "ERR"].contains(&code.as_str()) =>
        {
            Ok(Identity::default())
        }
        Err(fault) => Err(fault),
    }
}

/// Version and identity of a server, as reported by `INFO`.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// Version of the server. `None` if the server does not report its version. Such a server is
    /// accepted.
    pub(super) version: Option<Version>,
    /// Identity of the running server, derived from its run id. A server gets a new run id at each
    /// start. `None` if the server does not report its run id.
    pub(super) instance: Option<StoreInstance>,
}

impl Identity {
    fn of(info: &str) -> Self {
        let digits = value_in(info, "run_id:").and_then(|run_id| run_id.get(..32));
        let instance = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        Self {
            version: value_in(info, "redis_version:").and_then(Version::parse),
            instance: instance.map(StoreInstance),
        }
    }
}

/// Reason for a failed attempt to connect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectFault {
    #[error(transparent)]
    Redis(RedisFault),
    #[error("the host name of the server does not resolve: {0}")]
    Unresolved(io::Error),
    #[error("the server is unreachable: {0}")]
    Unreachable(io::Error),
    #[error("the TLS handshake failed: {0}")]
    TlsHandshake(io::Error),
    #[error("{0} is not a valid server name for TLS")]
    TlsServerName(String),
    #[error("TLS is not configured correctly: {0}")]
    Tls(#[from] RedisTlsError),
    #[error("a connection needs exactly one server")]
    SeveralServers,
    #[error("the run id of the server is unknown: allow INFO for the Redis user of the service")]
    UnknownInstance,
    #[error("no sentinel reports the address of the primary: {reason}")]
    NoSentinel { reason: String },
    #[error("the server belongs to no cluster with assigned hash slots")]
    NoCluster,
    #[error("the sentinels are replacing the primary")]
    FailingOver,
    #[error("the sentinels know no primary with the name in sentinelServiceName")]
    UnknownService,
    #[error("Redis {version} is too old: {OLDEST_VERSION} or newer is required")]
    TooOld { version: Version },
}
