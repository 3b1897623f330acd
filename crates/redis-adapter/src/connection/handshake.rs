//! One attempt to connect: to each address of a server, with a look at which server it is.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tee_session_domain::StoreInstance;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use super::{
    breaker::Breaker,
    call::Call,
    client::{Client, ClientTask, fault},
    command::Command,
    options::{CONNECT_TIMEOUT, Target},
    sentinels::Sentinels,
    server_settings::value_in,
    version::{OLDEST_VERSION, Version},
};
use crate::{
    RedisFault, RedisSettings, RedisTlsError,
    address::Address,
    credentials::Login,
    deployment::{Deployment, Server},
    record::Key,
};

/// Limits a whole attempt to connect to one server.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Limits each request of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// Minimum time for each address of a name.
const LEAST_SHARE: Duration = Duration::from_millis(500);

/// Names the key of the probe that shows whether reads and writes are answered. No session is ever
/// stored there.
pub(crate) const PROBE_NAME: &str = "-probe-";

/// A client that has just answered, and the task that drives it.
pub(super) struct Established {
    pub(super) client: Arc<Client>,
    pub(super) task: ClientTask,
    /// Name of the server for the log.
    pub(super) server: String,
    /// The primary that the sentinels named.
    pub(super) named: Option<Address>,
    /// The server's identity, if Redis shows it.
    pub(super) instance: Option<StoreInstance>,
}

/// Makes one attempt to connect to the server that `settings` or their sentinels name, and checks that
/// it can be used.
pub(super) async fn establish(
    settings: &RedisSettings,
    sentinels: &mut Option<Sentinels>,
    breaker: &Arc<Breaker>,
    is_feed: bool,
) -> Result<Established, ConnectFault> {
    match sentinels {
        None => establish_with(settings, None, breaker, is_feed).await,
        Some(sentinels) => {
            let named = sentinels.primary().await?;
            let settings = settings.for_server(&named);
            establish_with(&settings, Some(named), breaker, is_feed).await
        }
    }
}

async fn establish_with(
    settings: &RedisSettings,
    named: Option<Address>,
    breaker: &Arc<Breaker>,
    is_feed: bool,
) -> Result<Established, ConnectFault> {
    let Connected {
        client,
        task,
        identity,
    } = connect(settings, breaker, is_feed).await?;
    if let Some(version) = identity.version
        && version < OLDEST_VERSION
    {
        return Err(ConnectFault::TooOld { version });
    }
    if !settings.is_cluster_node {
        check_primary(&client).await?;
    }
    Ok(Established {
        client,
        task,
        server: settings.server_name(),
        named,
        instance: identity.instance,
    })
}

/// A client that is logged in, and has answered.
pub(super) struct Connected {
    pub(super) client: Arc<Client>,
    pub(super) task: ClientTask,
    identity: Identity,
}

/// Connects, makes one call, and closes the connection.
pub(crate) async fn call_once<T>(
    settings: &RedisSettings,
    ask: impl AsyncFnOnce(Call) -> Result<T, RedisFault>,
) -> Result<T, ConnectFault> {
    let connected = connect(settings, &Breaker::unwatched(), false).await?;
    let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
    let call = Call::uncounted(Arc::clone(&connected.client), deadline);
    ask(call).await.map_err(ConnectFault::Redis)
}

/// Makes one attempt to connect to one server, at each of its addresses.
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
        return Err(ConnectFault::NotOne);
    };
    let login = settings.credentials.current().await;
    let address = match server {
        Server::Unix(path) => {
            return connect_to(settings, login, Target::Unix(path), breaker, is_feed).await;
        }
        Server::Tcp(address) => address,
    };
    let found = resolve(address).await?;
    // One address that never answers must not use up the time of the others.
    let share = CONNECT_TIMEOUT / u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
    let share = share.max(LEAST_SHARE);
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

/// Looks up the addresses of a name.
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
    // fred sends this one by itself: error replies belong to it.
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
                reason: "the connection ended before it was ready".to_owned(),
            },
        })),
        identity = shake_hands(settings, &client) => Ok(Connected {
            identity: identity.map_err(ConnectFault::Redis)?,
            client,
            task,
        }),
    }
}

/// Waits until the client is connected, selects the database, and asks which server it is.
///
/// The database is not selected by fred, which takes no number above 255 and does not say that it was
/// `SELECT` that failed.
async fn shake_hands(
    settings: &RedisSettings,
    client: &Arc<Client>,
) -> Result<Identity, RedisFault> {
    let call = Call::uncounted(Arc::clone(client), Instant::now() + ATTEMPT_TIMEOUT).patient();
    if let Some(number) = settings.database.filter(|number| *number != 0) {
        let number = number.to_string();
        let number = [number.as_bytes()];
        let [reply] = call.send([Command::new("SELECT", &number)]).await?;
        reply.done("SELECT")?;
    }
    let [info] = call.send([Command::new("INFO", &[b"server"])]).await?;
    match info.text("INFO") {
        Ok(info) => Ok(Identity::of(&info)),
        // A user that may not read it, or a server without INFO, may still keep sessions.
        Err(RedisFault::Refused { code, .. }) if code == "NOPERM" || code == "ERR" => {
            Ok(Identity::default())
        }
        Err(fault) => Err(fault),
    }
}

/// Version and identity of a server.
#[derive(Debug, Default)]
struct Identity {
    /// `None`: a server that hides its version is trusted.
    version: Option<Version>,
    /// From the run id, which is another one for each start of each server.
    instance: Option<StoreInstance>,
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

/// Refuses a server that takes no writes now (a replica, one that is loading): its answers to reads may
/// be stale. The write changes nothing, since no session is stored there. A missing permission is for
/// the requests to report.
async fn check_primary(client: &Arc<Client>) -> Result<(), ConnectFault> {
    let call = Call::uncounted(Arc::clone(client), Instant::now() + HANDSHAKE_TIMEOUT);
    let key = Key::named(PROBE_NAME);
    let arguments: [&[u8]; 3] = [key.as_bytes(), b"1", b"XX"];
    let replied = call.send([Command::new("EXPIRE", &arguments)]).await;
    match replied.and_then(|[reply]| reply.integer("EXPIRE")) {
        Err(RedisFault::Refused { code, .. }) if code == "NOPERM" => Ok(()),
        probed => probed.map(drop).map_err(ConnectFault::Redis),
    }
}

/// Why an attempt to connect failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectFault {
    #[error(transparent)]
    Redis(RedisFault),
    #[error("no connection: the name of the server does not resolve: {0}")]
    Unresolved(io::Error),
    #[error("no connection: {0}")]
    Unreachable(io::Error),
    #[error("no connection: {0}")]
    TlsHandshake(io::Error),
    #[error("no connection: {0} cannot be the name of a server in a certificate")]
    Name(String),
    #[error("no connection: {0}")]
    Tls(#[from] RedisTlsError),
    #[error("several servers are connected to one by one")]
    NotOne,
    #[error("INFO, which names the server, may not be asked for")]
    Nameless,
    #[error("no sentinel tells where the primary is: {reason}")]
    NoSentinel { reason: String },
    #[error("the sentinels are replacing the primary")]
    FailingOver,
    #[error("the sentinels know no primary of the name sentinelServiceName")]
    UnknownService,
    #[error("Redis {version} is too old: {OLDEST_VERSION} or newer is needed")]
    TooOld { version: Version },
}
