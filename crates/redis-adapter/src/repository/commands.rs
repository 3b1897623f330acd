//! What is done with one record in one place.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use fred::{
    interfaces::KeysInterface,
    types::{Expiration, ExpireOptions, Key, SetOptions},
};
use futures_util::future::{join, join3};
use tee_session_domain::{InsertOutcome, PeekedSession, RepositoryError, Session};

use crate::{RedisFault, connection::probe_write, pool::Via, record::Slot};

/// `SET key value EX ttl NX`.
pub(super) async fn insert(
    via: &Via,
    slot: &Slot,
    session: &Session,
    ttl: Duration,
) -> Result<InsertOutcome, RepositoryError> {
    let expiration = Some(Expiration::EX(whole_seconds(ttl)));
    let (key, value) = (slot.key().clone(), slot.encode(session));
    let client = &via.client;
    let set = pin!(client.set(key, value, expiration, Some(SetOptions::NX), false));
    let reply: Option<String> = via.send("SET", set).await?;
    Ok(match reply {
        Some(_) => InsertOutcome::Inserted,
        None => InsertOutcome::TokenTaken,
    })
}

/// `GET key`.
pub(super) async fn get(via: &Via, key: &Key) -> Result<Option<Bytes>, RedisFault> {
    // Boxed, and so is EXPIRE: fred's futures are large (7 KB), and each function that awaits one that
    // awaits one moves them about.
    let mut get = Box::pin(via.client.get(key.clone()));
    via.send("GET", get.as_mut()).await
}

/// `GET key`, of a session.
pub(super) async fn read(via: &Via, slot: &Slot) -> Result<Option<Session>, RepositoryError> {
    let value = get(via, slot.key()).await?;
    Ok(value.map(|value| slot.decode(&value)).transpose()?)
}

/// `GET key` and `EXPIRE key ttl XX`, sent together: the answer is right as of the GET, and
/// EXPIRE cannot bring back what is gone. `XX` leaves alone what has no expiry, since that may
/// be somebody else's; a session without one gets it by a second EXPIRE.
pub(super) async fn slide(
    via: &Via,
    slot: &Slot,
    ttl: Duration,
) -> Result<Option<Session>, RepositoryError> {
    let key = slot.key();
    let (value, slid) = join(
        get(via, key),
        expire(via, key, ttl, Some(ExpireOptions::XX)),
    )
    .await;
    let (value, slid) = (value?, slid?);
    let Some(value) = value else {
        return Ok(None);
    };
    let session = slot.decode(&value)?;
    let lives = slid || Box::pin(expire(via, key, ttl, None)).await?;
    Ok(lives.then_some(session))
}

/// `GET key` and `PTTL key`, sent together with a write that changes nothing: a server that has
/// become a replica refuses it, and its stale data is no answer.
pub(super) async fn peek(via: &Via, slot: &Slot) -> Result<Option<PeekedSession>, RepositoryError> {
    /// What PTTL answers for a key that does not exist.
    const GONE: i64 = -2;
    let pttl = pin!(via.client.pttl::<i64, Key>(slot.key().clone()));
    let (value, pttl, written) = join3(
        get(via, slot.key()),
        via.send("PTTL", pttl),
        refused_by_replicas(via, slot.key()),
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
async fn refused_by_replicas(via: &Via, key: &Key) -> Result<(), RedisFault> {
    let options = Some(ExpireOptions::GT);
    let pexpire = pin!(via.client.pexpire::<i64, Key>(key.clone(), 1, options));
    via.send("PEXPIRE", pexpire).await.map(drop)
}

/// `EXPIRE key 1 XX` and `GET key` where no session stands: what requests need, a write that
/// replicas refuse and a read.
pub(super) async fn probe(via: &Via, key: &Key) -> Result<(), RepositoryError> {
    let (read, written) = join(get(via, key), probe_write(&via.client, key)).await;
    read?;
    Ok(written?)
}

/// `DEL key...`; `true` when there was something.
pub(super) async fn delete(via: &Via, keys: Vec<Key>) -> Result<bool, RepositoryError> {
    let deleted: i64 = via.send("DEL", pin!(via.client.del(keys))).await?;
    Ok(deleted > 0)
}

/// `EXPIRE key ttl [XX]`; `false` when nothing was changed.
async fn expire(
    via: &Via,
    key: &Key,
    ttl: Duration,
    options: Option<ExpireOptions>,
) -> Result<bool, RedisFault> {
    let client = &via.client;
    let mut expire = Box::pin(client.expire(key.clone(), whole_seconds(ttl), options));
    let changed: i64 = via.send("EXPIRE", expire.as_mut()).await?;
    Ok(changed > 0)
}

/// The port hands over whole seconds; an EXPIRE of zero would delete.
fn whole_seconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1)
}
