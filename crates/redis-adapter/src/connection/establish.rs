//! One attempt to connect: who we are, which database, and whether the server is one to be used.

use std::time::Duration;

use arrayvec::ArrayVec;
use tee_session_domain::StoreInstance;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    client::{Asking, Client, Command},
    driver::{Driver, Ending, Pushes},
    sentinels::Sentinels,
    server_settings::value_in,
    stream::{DialFault, dial},
    version::{OLDEST_VERSION, Version},
};
use crate::{RedisFault, RedisSettings, address::Address, deployment::Deployment, record::Key};

/// Bounds a whole attempt to connect to one server.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Bounds each question of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// Names the key that is asked for to see whether reads and writes are answered; no session ever
/// stands there.
pub(crate) const PROBE_NAME: &str = "-probe-";

/// A client that has just answered, and the task that drives it.
pub(super) struct Established {
    pub(super) client: Client,
    pub(super) task: ClientTask,
    /// Whom it is connected to, for the log.
    pub(super) server: String,
    /// The primary that the sentinels named.
    pub(super) named: Option<Address>,
    /// Which server it is, if Redis tells it.
    pub(super) instance: Option<StoreInstance>,
}

/// The driver behind a client. It holds the socket and the commands in flight: all of them end with
/// this value, however it is dropped.
pub(super) struct ClientTask(pub(super) JoinHandle<Ending>);

impl Drop for ClientTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Makes one attempt to connect to the server that `settings` or their sentinels name, and sees that
/// it is one to be used.
pub(super) async fn establish(
    settings: &RedisSettings,
    sentinels: &mut Option<Sentinels>,
    pushes: Option<Pushes>,
) -> Result<Established, ConnectFault> {
    let Some(sentinels) = sentinels else {
        return establish_with(settings, None, pushes).await;
    };
    let named = sentinels.primary().await?;
    establish_with(&settings.for_server(&named), Some(named), pushes).await
}

async fn establish_with(
    settings: &RedisSettings,
    named: Option<Address>,
    pushes: Option<Pushes>,
) -> Result<Established, ConnectFault> {
    let Connected {
        client,
        task,
        identity,
    } = connect(settings, pushes).await?;
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

/// A connection whose handshake is through.
pub(crate) struct Connected {
    pub(super) client: Client,
    pub(super) task: ClientTask,
    identity: Identity,
}

/// Connects, asks something, and leaves.
pub(crate) async fn ask_once<T>(
    settings: &RedisSettings,
    ask: impl AsyncFnOnce(&Client, Asking) -> Result<T, RedisFault>,
) -> Result<T, ConnectFault> {
    let connected = connect(settings, None).await?;
    let asking = Asking::until(Instant::now() + HANDSHAKE_TIMEOUT);
    let answer = ask(&connected.client, asking).await;
    answer.map_err(ConnectFault::Redis)
}

/// One attempt to connect to one server.
pub(super) async fn connect(
    settings: &RedisSettings,
    pushes: Option<Pushes>,
) -> Result<Connected, ConnectFault> {
    let attempt = async {
        let Deployment::One(server) = &settings.deployment else {
            return Err(ConnectFault::NotOne);
        };
        let stream = dial(server, settings.tls.as_ref()).await?;
        let needs_pushes = pushes.is_some();
        let (client, driver) = Driver::over(stream, pushes);
        let task = ClientTask(tokio::spawn(driver));
        let identity = shake_hands(&client, settings, needs_pushes).await;
        Ok(Connected {
            identity: identity.map_err(ConnectFault::Redis)?,
            client,
            task,
        })
    };
    let attempt = timeout(ATTEMPT_TIMEOUT, attempt).await;
    attempt.unwrap_or_else(|_| {
        let command = "connect";
        Err(ConnectFault::Redis(RedisFault::TimedOut { command }))
    })
}

/// All of it in one round trip. What comes after a refusal is refused as well: the first one counts.
async fn shake_hands(
    client: &Client,
    settings: &RedisSettings,
    needs_pushes: bool,
) -> Result<Identity, RedisFault> {
    let login = settings.credentials.current().await;
    let asking = Asking::until(Instant::now() + HANDSHAKE_TIMEOUT);
    let mut who: ArrayVec<&[u8], 2> = ArrayVec::new();
    if let Some(login) = &login {
        who.extend(login.username.as_ref().map(String::as_bytes));
        who.push(login.password.as_bytes());
    }
    let database = settings.database.filter(|number| *number != 0);
    let database = database.map(|number| number.to_string());
    let authenticated = login
        .is_some()
        .then(|| client.ask(asking, [Command::new("AUTH", &who)]));
    let version_3 = needs_pushes.then(|| client.ask(asking, [Command::new("HELLO", &[b"3"])]));
    let selected = database
        .as_ref()
        .map(|number| client.ask(asking, [Command::new("SELECT", &[number.as_bytes()])]));
    let info = client.ask(asking, [Command::new("INFO", &[b"server"])]);
    if let Some(answer) = authenticated {
        let [reply] = answer.await?;
        reply.done("AUTH")?;
    }
    if let Some(answer) = version_3 {
        let [reply] = answer.await?;
        reply.any("HELLO")?;
    }
    if let Some(answer) = selected {
        let [reply] = answer.await?;
        reply.done("SELECT")?;
    }
    let [info] = info.await?;
    match info.text("INFO") {
        Ok(info) => Ok(Identity::of(&info)),
        // Who may not ask for that, or asks one that knows no INFO, may still keep sessions there.
        Err(RedisFault::Refused { code, .. }) if code == "NOPERM" || code == "ERR" => {
            Ok(Identity::default())
        }
        Err(fault) => Err(fault),
    }
}

/// What a server tells of itself.
#[derive(Debug, Default)]
struct Identity {
    /// `None`: one that hides it is trusted.
    version: Option<Version>,
    /// From the run id, which no other server has, and it has not any more when it is started again.
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

/// Refuses a server that takes no writes now (a replica, one that is loading): what it would
/// answer to reads may be stale. The write that is asked for changes nothing, since no session
/// stands there. A missing permission is for the requests to tell.
async fn check_primary(client: &Client) -> Result<(), ConnectFault> {
    let asking = Asking::until(Instant::now() + HANDSHAKE_TIMEOUT);
    let key = Key::named(PROBE_NAME);
    let arguments: [&[u8]; 3] = [key.as_bytes(), b"1", b"XX"];
    let asked = client.ask(asking, [Command::new("EXPIRE", &arguments)]);
    let [reply] = asked.await.map_err(ConnectFault::Redis)?;
    match reply.integer("EXPIRE") {
        Err(RedisFault::Refused { code, .. }) if code == "NOPERM" => Ok(()),
        probed => probed.map(drop).map_err(ConnectFault::Redis),
    }
}

/// Why an attempt to connect failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectFault {
    #[error(transparent)]
    Redis(RedisFault),
    #[error("no connection: {0}")]
    Dial(#[from] DialFault),
    #[error("several servers are connected to one by one")]
    NotOne,
    #[error("no sentinel tells where the primary is: {reason}")]
    NoSentinel { reason: String },
    #[error("the sentinels are replacing the primary")]
    FailingOver,
    #[error("the sentinels know no primary of the name sentinelServiceName")]
    UnknownService,
    #[error("Redis {version} is too old: {OLDEST_VERSION} or newer is needed")]
    TooOld { version: Version },
}
