//! What is done with one record in one place.

use std::time::Duration;

use bytes::Bytes;
use fred::{
    interfaces::KeysInterface,
    types::{Expiration, ExpireOptions, Key, SetOptions},
};
use futures_util::future::{join, join3};
use tee_session_domain::{InsertOutcome, PeekedSession, RepositoryError, Session};

use crate::{RedisFault, connection::LiveClient, record::Slot};

/// `SET key value EX ttl NX`.
pub(super) async fn insert(
    client: &LiveClient,
    slot: &Slot,
    session: &Session,
    ttl: Duration,
) -> Result<InsertOutcome, RepositoryError> {
    let expiration = Some(Expiration::EX(whole_seconds(ttl)));
    let (key, value) = (slot.key().clone(), slot.encode(session));
    let reply: Option<String> = client
        .set(key, value, expiration, Some(SetOptions::NX), false)
        .await
        .map_err(|error| RedisFault::new("SET", &error))?;
    Ok(match reply {
        Some(_) => InsertOutcome::Inserted,
        None => InsertOutcome::TokenTaken,
    })
}

/// `GET key`.
pub(super) async fn get(client: &LiveClient, key: &Key) -> Result<Option<Bytes>, RedisFault> {
    client
        .get(key.clone())
        .await
        .map_err(|error| RedisFault::new("GET", &error))
}

/// `GET key` and `EXPIRE key ttl XX`, sent together: the answer is right as of the GET, and
/// EXPIRE cannot bring back what is gone. `XX` leaves alone what has no expiry, since that may
/// be somebody else's; a session without one gets it by a second EXPIRE.
pub(super) async fn slide(
    client: &LiveClient,
    slot: &Slot,
    ttl: Duration,
) -> Result<Option<Session>, RepositoryError> {
    let key = slot.key();
    let (value, slid) = join(
        get(client, key),
        expire(client, key, ttl, Some(ExpireOptions::XX)),
    )
    .await;
    let (value, slid) = (value?, slid?);
    let Some(value) = value else {
        return Ok(None);
    };
    let session = slot.decode(&value)?;
    let lives = slid || Box::pin(expire(client, key, ttl, None)).await?;
    Ok(lives.then_some(session))
}

/// `GET key` and `PTTL key`, sent together with a write that changes nothing: a server that has
/// become a replica refuses it, and its stale data is no answer.
pub(super) async fn peek(
    client: &LiveClient,
    slot: &Slot,
) -> Result<Option<PeekedSession>, RepositoryError> {
    /// What PTTL answers for a key that does not exist.
    const GONE: i64 = -2;
    let pttl = async {
        let pttl = client.pttl::<i64, Key>(slot.key().clone()).await;
        pttl.map_err(|error| RedisFault::new("PTTL", &error))
    };
    let (value, pttl, written) = join3(
        get(client, slot.key()),
        pttl,
        refused_by_replicas(client, slot.key()),
    )
    .await;
    written?;
    match (value?, pttl?) {
        (None, _) | (_, GONE) => Ok(None),
        (Some(value), pttl) => Ok(Some(PeekedSession {
            session: slot.decode(&value)?,
            remaining: u64::try_from(pttl).ok().map(Duration::from_millis),
        })),
    }
}

/// `PEXPIRE key 1 GT`: never shortens a life, and leaves alone what has no expiry.
async fn refused_by_replicas(client: &LiveClient, key: &Key) -> Result<(), RedisFault> {
    client
        .pexpire::<i64, Key>(key.clone(), 1, Some(ExpireOptions::GT))
        .await
        .map(drop)
        .map_err(|error| RedisFault::new("PEXPIRE", &error))
}

/// `DEL key...`; `true` when there was something.
pub(super) async fn delete(client: &LiveClient, keys: Vec<Key>) -> Result<bool, RepositoryError> {
    let deleted: i64 = client
        .del(keys)
        .await
        .map_err(|error| RedisFault::new("DEL", &error))?;
    Ok(deleted > 0)
}

/// `EXPIRE key ttl [XX]`; `false` when nothing was changed.
async fn expire(
    client: &LiveClient,
    key: &Key,
    ttl: Duration,
    options: Option<ExpireOptions>,
) -> Result<bool, RedisFault> {
    let changed: i64 = client
        .expire(key.clone(), whole_seconds(ttl), options)
        .await
        .map_err(|error| RedisFault::new("EXPIRE", &error))?;
    Ok(changed > 0)
}

/// The port hands over whole seconds; an EXPIRE of zero would delete.
fn whole_seconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1)
}
