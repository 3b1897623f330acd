//! Establishment of a connection to the primary: finds the address of the primary, connects, and
//! checks the version and the role of the server.

use std::sync::Arc;

use tee_session_domain::StoreInstance;
use tokio::time::Instant;

use super::{
    breaker::Breaker,
    call::Call,
    client::{Client, ClientTask},
    command::{Command, PROBE_NAME},
    handshake::{ConnectFault, Connected, HANDSHAKE_TIMEOUT, connect},
    sentinels::Sentinels,
    version::OLDEST_VERSION,
};
use crate::{RedisFault, RedisSettings, address::Address, record::Key};

/// An established connection. It consists of a connected client and the task that drives the
/// client.
pub(super) struct Established {
    pub(super) client: Arc<Client>,
    pub(super) task: ClientTask,
    /// Address of the connected server, as shown in log messages.
    pub(super) server: String,
    /// Address of the primary that the sentinels named. `None` if the deployment has no sentinels.
    pub(super) named: Option<Address>,
    /// Identity of the server, derived from its run id. `None` if Redis does not report a run id.
    pub(super) instance: Option<StoreInstance>,
}

/// Makes one attempt to connect, and checks that the version of the server is supported. Outside a
/// cluster, also checks that the server accepts writes.
///
/// The address of the server comes from `sentinels`, or from `settings` if the deployment has no
/// sentinels.
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

/// Checks that the server accepts writes. A replica rejects writes, and its replies to reads may be
/// stale. A server that is loading its data also rejects writes.
///
/// The check sends `EXPIRE` for the probe key. The probe key never exists, so nothing is changed.
/// If the Redis user lacks the permission for `EXPIRE`, the check succeeds. Later session requests
/// report the missing permission.
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
