//! Records of requests that clients may repeat, stored in Redis. The records are encrypted in both
//! storage formats, because they contain session tokens.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tee_session_domain::{
    EntityTag, Fingerprint, IdempotencyKey, IdempotencyRecord, IdempotencyState, IdempotencyStore,
    IdempotentResult, RepositoryError,
};
use zeroize::Zeroizing;

use crate::{
    CorruptRecord, RedisRepository,
    connection::{Call, Command},
    error::CallError,
    record::{Envelope, Key, from_micros, to_micros},
    repository::commands::{self, seconds},
};

/// Plaintext of a record, encoded with postcard.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    fingerprint: [u8; 16],
    token: &'a str,
    state: State,
}

#[derive(Serialize, Deserialize)]
enum State {
    Running {
        until_micros: i64,
    },
    Done {
        ttl_seconds: u64,
        expires_at_micros: i64,
        tag: [u8; 16],
    },
}

/// The Redis key and the encryption of one record.
struct Location {
    key: Key,
    envelope: Envelope,
}

impl Location {
    fn of(key: &IdempotencyKey) -> Self {
        Self {
            key: Key::named(format_args!("-once-{}", key.id())),
            envelope: Envelope::new(*key.id().as_bytes(), key.sealing_key()),
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "strings and numbers into a Vec cannot fail"
    )]
    fn seal(&self, record: &IdempotencyRecord) -> Vec<u8> {
        let state = match record.state {
            IdempotencyState::Running { until } => State::Running {
                until_micros: to_micros(until),
            },
            IdempotencyState::Done(result) => State::Done {
                ttl_seconds: result.ttl.as_secs(),
                expires_at_micros: to_micros(result.expires_at),
                tag: *result.tag.as_bytes(),
            },
        };
        let content = Content {
            fingerprint: record.fingerprint.0,
            token: record.token.expose_secret(),
            state,
        };
        let content = postcard::to_allocvec(&content).expect("a record can be encoded");
        self.envelope.seal(content)
    }

    fn open(&self, value: Option<Bytes>) -> Result<Option<IdempotencyRecord>, CallError> {
        // The decrypted token is wiped on drop.
        let value = value.map(|value| Zeroizing::new(Vec::from(value)));
        value.map(|mut value| self.decode(&mut value)).transpose()
    }

    fn decode(&self, value: &mut [u8]) -> Result<IdempotencyRecord, CallError> {
        let content = self.envelope.open(value)?;
        let no_record = || CallError::Corrupt(CorruptRecord::NotASession);
        let content: Content<'_> = postcard::from_bytes(content).map_err(|_| no_record())?;
        let time = |micros| from_micros(micros).map_err(CallError::Corrupt);
        Ok(IdempotencyRecord {
            fingerprint: Fingerprint(content.fingerprint),
            token: content.token.parse().map_err(|_| no_record())?,
            state: match content.state {
                State::Running { until_micros } => IdempotencyState::Running {
                    until: time(until_micros)?,
                },
                State::Done {
                    ttl_seconds,
                    expires_at_micros,
                    tag,
                } => IdempotencyState::Done(IdempotentResult {
                    ttl: Duration::from_secs(ttl_seconds),
                    expires_at: time(expires_at_micros)?,
                    tag: EntityTag::from_bytes(tag),
                }),
            },
        })
    }
}

/// Converts an error of a call. A record that cannot be read makes the request fail as if the store
/// were unavailable, so that the client can use another key. The error `Corrupt` would mean that the
/// session is corrupt.
fn store_error(error: CallError) -> RepositoryError {
    if error.is_corrupt() {
        RepositoryError::unavailable(error)
    } else {
        error.into()
    }
}

impl IdempotencyStore for RedisRepository {
    /// Stores the record with `SET key value EX ttl NX GET`, which also returns an existing value.
    async fn begin(
        &self,
        key: &IdempotencyKey,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> Result<Option<IdempotencyRecord>, RepositoryError> {
        let location = &Location::of(key);
        let (value, ttl) = (&location.seal(record), seconds(ttl));
        let set = |call: Call| async move {
            let key = location.key.as_bytes();
            let arguments = [key, value, b"EX", ttl.as_bytes(), b"NX", b"GET"];
            let [reply] = call.send([Command::new("SET", &arguments)]).await?;
            Ok(reply.bulk("SET")?)
        };
        let deadline = self.deadline();
        let existing = self.pool.call(&location.key, "SET", deadline, set).await;
        existing
            .and_then(|value| location.open(value))
            .map_err(store_error)
    }

    /// Loads the record with `GET`. A write that changes nothing (`PEXPIRE key 1 GT`) is sent as
    /// well, so that a server that has become a replica returns an error instead of stale data.
    async fn find(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<IdempotencyRecord>, RepositoryError> {
        let location = &Location::of(key);
        let get = |call: Call| async move {
            let key = location.key.as_bytes();
            let [value, written] = call
                .send([
                    Command::new("GET", &[key]),
                    Command::new("PEXPIRE", &[key, b"1", b"GT"]),
                ])
                .await?;
            written.integer("PEXPIRE")?;
            Ok(value.bulk("GET")?)
        };
        let deadline = self.deadline();
        let found = self.pool.call(&location.key, "GET", deadline, get).await;
        found
            .and_then(|value| location.open(value))
            .map_err(store_error)
    }

    /// Replaces the record with `SET key value XX KEEPTTL`.
    async fn replace(
        &self,
        key: &IdempotencyKey,
        record: &IdempotencyRecord,
    ) -> Result<(), RepositoryError> {
        let location = &Location::of(key);
        let value = &location.seal(record);
        let set = |call: Call| async move {
            let arguments = [location.key.as_bytes(), value, b"XX", b"KEEPTTL"];
            let [reply] = call.send([Command::new("SET", &arguments)]).await?;
            reply.done("SET")?;
            Ok(())
        };
        let deadline = self.deadline();
        let replaced = self.pool.call(&location.key, "SET", deadline, set).await;
        replaced.map_err(store_error)
    }

    async fn forget(&self, key: &IdempotencyKey) -> Result<(), RepositoryError> {
        let location = &Location::of(key);
        let delete =
            |call: Call| async move { commands::delete(&call, &[location.key.as_bytes()]).await };
        let deadline = self.deadline();
        let deleted = self.pool.call(&location.key, "DEL", deadline, delete).await;
        deleted.map(|_| ()).map_err(store_error)
    }
}
