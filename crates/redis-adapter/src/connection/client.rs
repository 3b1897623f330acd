//! One fred client: every option set on purpose, one attempt to connect, one life.

use std::time::Duration;

use fred::{
    clients::Client,
    error::Error as FredError,
    interfaces::{ClientLike, KeysInterface},
    types::{
        Builder, ClusterHash, ConnectHandle, CustomCommand, ExpireOptions, InfoKind, Key,
        RespVersion, Version,
        config::{
            ConnectionConfig, Options, PerformanceConfig, ReconnectError, TcpConfig, TlsConnector,
            UnresponsiveConfig,
        },
    },
};
use socket2::TcpKeepalive;
use tee_session_domain::StoreInstance;
use time::OffsetDateTime;

use super::{LiveClient, sentinels::Sentinels};
use crate::{RedisFault, RedisSettings, RedisTlsError, address::Address};

/// Bounds name resolution, TCP and TLS for one server.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Bounds each command of the handshake (AUTH, SELECT, CLIENT ID, INFO).
const HANDSHAKE_COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// Bounds a whole attempt to connect to one server.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// The kernel gives up on a peer that acknowledges nothing for so long.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);

/// `EXPIRE ... XX`, which leaves keys of others alone, came with this one.
const OLDEST_VERSION: Version = Version::new(7, 0, 0);

/// Asked for to see whether reads and writes are answered; no session ever stands there.
pub(crate) const PROBE_KEY: &str = "session:-probe-";

/// A client that has just answered, and the task that drives it.
pub(super) struct Established {
    pub(super) client: LiveClient,
    pub(super) task: ClientTask,
    /// Whom it is connected to, for the log.
    pub(super) server: String,
    /// The primary that the sentinels named.
    pub(super) named: Option<Address>,
    /// Which server it is, if that is to be known and Redis tells it.
    pub(super) instance: Option<StoreInstance>,
}

/// fred's task behind a client. It holds the sockets and the commands in flight: all of them
/// end with this value, however it is dropped.
pub(super) struct ClientTask(pub(super) ConnectHandle);

impl Drop for ClientTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Makes one attempt to connect and to get an answer.
///
/// fred's own reconnection stays off: it holds commands back and replays them, keeps saying
/// "connected" for its first pause, and ends for good in ways of its own. Without it the task
/// of a client ends as soon as its connection does, commands in flight fail at once, and the
/// supervisor makes a new client that resolves names and asks sentinels anew.
pub(super) async fn establish(
    settings: &RedisSettings,
    sentinels: &mut Option<Sentinels>,
) -> Result<Established, ConnectFault> {
    let Some(sentinels) = sentinels else {
        return establish_with(settings, None).await;
    };
    let named = sentinels.primary().await?;
    establish_with(&settings.for_server(&named), Some(named)).await
}

async fn establish_with(
    settings: &RedisSettings,
    named: Option<Address>,
) -> Result<Established, ConnectFault> {
    let (client, task) = connect(settings).await?;
    check_version(&client)?;
    let options = Options {
        timeout: Some(settings.command_timeout),
        // Only while the task runs: once it has ended, fred takes commands and never answers.
        fail_fast: true,
        // A replayed write could answer for its own first attempt.
        max_attempts: Some(1),
        ..Options::default()
    };
    let client = client.with_options(&options);
    if !settings.is_cluster_node {
        check_primary(&client).await?;
    }
    let instance = if settings.tells_changes {
        instance(&client).await?
    } else {
        None
    };
    Ok(Established {
        client,
        task,
        server: settings.server_name(),
        named,
        instance,
    })
}

/// The server's run id, which no other has, and it has not any more when it is started again; `None`
/// when it may not be asked for.
async fn instance(client: &LiveClient) -> Result<Option<StoreInstance>, ConnectFault> {
    let run_id = match info(client, "run_id:", InfoKind::Server).await {
        Err(RedisFault::Refused { code, .. }) if code == "NOPERM" => None,
        asked => asked.map_err(ConnectFault::Redis)?,
    };
    let digits = run_id.as_deref().and_then(|run_id| run_id.get(..32));
    Ok(digits
        .and_then(|digits| u128::from_str_radix(digits, 16).ok())
        .map(StoreInstance))
}

/// The value of the line of INFO that begins with `name`, if there is one.
pub(super) async fn info(
    client: &LiveClient,
    name: &str,
    section: InfoKind,
) -> Result<Option<String>, RedisFault> {
    let info: Result<String, _> = client.info(Some(section)).await;
    let info = info.map_err(|error| RedisFault::new("INFO", &error))?;
    let value = info.lines().find_map(|line| line.strip_prefix(name));
    Ok(value.map(|value| value.trim().to_owned()))
}

/// Connects, asks something, and leaves.
pub(crate) async fn ask_once<T>(
    settings: &RedisSettings,
    ask: impl AsyncFnOnce(&LiveClient) -> Result<T, RedisFault>,
) -> Result<T, ConnectFault> {
    let (client, _task) = connect(settings).await?;
    let patient = client.with_options(&Options {
        timeout: Some(HANDSHAKE_COMMAND_TIMEOUT),
        ..Options::default()
    });
    ask(&patient).await.map_err(ConnectFault::Redis)
}

/// One attempt to connect to one server.
pub(super) async fn connect(
    settings: &RedisSettings,
) -> Result<(Client, ClientTask), ConnectFault> {
    let client = build(settings)?;
    let mut task = ClientTask(client.connect());
    // Commands wait until the attempt is through, so the first answer is the proof.
    let patient = client.with_options(&Options {
        timeout: Some(ATTEMPT_TIMEOUT),
        ..Options::default()
    });
    tokio::select! {
        biased;
        answer = patient.ping::<()>(None) => answer.map_err(|error| fault(&error))?,
        ended = &mut task.0 => return Err(match ended {
            Ok(Err(error)) => fault(&error),
            Ok(Ok(())) | Err(_) => ConnectFault::Ended,
        }),
    }
    Ok((client, task))
}

fn build(settings: &RedisSettings) -> Result<Client, ConnectFault> {
    let mut server = settings.server.clone();
    if let Some(tls) = &settings.tls {
        let tls = tls.client_config().map_err(ConnectFault::Tls)?;
        server.tls = Some(TlsConnector::from(tls).into());
    }
    if settings.is_feed {
        server.version = RespVersion::RESP3;
    }
    // One attempt, then an answer: the supervisor decides about the next one.
    server.fail_fast = true;
    let mut builder = Builder::from_config(server);
    builder.set_connection_config(ConnectionConfig {
        connection_timeout: CONNECT_TIMEOUT,
        internal_command_timeout: HANDSHAKE_COMMAND_TIMEOUT,
        // A full bounded queue swallows fred's own messages and ends its task unseen.
        max_command_buffer_len: 0,
        reconnect_on_auth_error: true,
        // The watchdog of the supervisor does this job: fred's looks away while it writes.
        unresponsive: UnresponsiveConfig {
            max_timeout: None,
            ..UnresponsiveConfig::default()
        },
        reconnect_errors: vec![
            ReconnectError::ClusterDown,
            ReconnectError::Loading,
            ReconnectError::MasterDown,
            ReconnectError::ReadOnly,
        ],
        tcp: TcpConfig {
            // fred batches by itself; Nagle would add its delay to what it batches.
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
    });
    builder.set_performance_config(PerformanceConfig {
        default_command_timeout: settings.command_timeout,
        broadcast_channel_capacity: 1_024,
        ..PerformanceConfig::default()
    });
    builder.build().map_err(|error| fault(&error))
}

/// Refuses a server that is too old to be safe with; one that hides its version is trusted.
fn check_version(client: &Client) -> Result<(), ConnectFault> {
    match client.server_version() {
        Some(version) if version < OLDEST_VERSION => Err(ConnectFault::TooOld { version }),
        _ => Ok(()),
    }
}

/// Refuses a server that takes no writes now (a replica, one that is loading): what it would
/// answer to reads may be stale. A missing permission is for the requests to tell.
async fn check_primary(client: &LiveClient) -> Result<(), ConnectFault> {
    match probe_write(client, &Key::from_static_str(PROBE_KEY)).await {
        Err(RedisFault::Refused { code, .. }) if code == "NOPERM" => Ok(()),
        probed => probed.map_err(ConnectFault::Redis),
    }
}

/// A write that changes nothing, where no session stands: replicas refuse it.
pub(crate) async fn probe_write(client: &LiveClient, key: &Key) -> Result<(), RedisFault> {
    client
        .expire::<i64, _>(key.clone(), 1, Some(ExpireOptions::XX))
        .await
        .map(drop)
        .map_err(|error| RedisFault::new("EXPIRE", &error))
}

/// Announces, to a server that is taking over a hash slot, a command about one of its keys.
pub(crate) async fn ask(client: &LiveClient) -> Result<(), FredError> {
    let asking = CustomCommand::new_static("ASKING", ClusterHash::Random, false);
    client.custom(asking, Vec::<String>::new()).await
}

/// Asks the store for its time: a heartbeat that is good for something. It has a time limit of its
/// own, however long commands may take.
pub(super) async fn server_time(
    client: &LiveClient,
    within: Duration,
) -> Result<OffsetDateTime, RedisFault> {
    let client = Client::with_options(
        client,
        &Options {
            timeout: Some(within),
            fail_fast: true,
            max_attempts: Some(1),
            ..Options::default()
        },
    );
    let time = CustomCommand::new_static("TIME", ClusterHash::Random, false);
    let (seconds, micros): (i64, i64) = client
        .custom(time, Vec::<String>::new())
        .await
        .map_err(|error| RedisFault::new("TIME", &error))?;
    let now = time::Duration::seconds(seconds).saturating_add(time::Duration::microseconds(micros));
    Ok(OffsetDateTime::UNIX_EPOCH.saturating_add(now))
}

/// Why an attempt to connect failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectFault {
    #[error(transparent)]
    Redis(RedisFault),
    #[error(transparent)]
    Tls(RedisTlsError),
    #[error("the connection ended before it was ready")]
    Ended,
    #[error("no sentinel tells where the primary is: {reason}")]
    NoSentinel { reason: String },
    #[error("the sentinels are replacing the primary")]
    FailingOver,
    #[error("the sentinels know no primary of the name sentinelServiceName")]
    UnknownService,
    #[error("Redis {version} is too old: {OLDEST_VERSION} or newer is needed")]
    TooOld { version: Version },
}

fn fault(error: &FredError) -> ConnectFault {
    ConnectFault::Redis(RedisFault::new("connect", error))
}
