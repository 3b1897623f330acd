//! Idempotency records in Redis: one record for each `Idempotency-Key`. The records are encrypted
//! even if the storage format is plain, because they contain session tokens.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tee_session_domain::{
    BeginOutcome, EntityTag, ErrorChain, Fingerprint, IdempotencyKey, IdempotencyRecord,
    IdempotencyState, IdempotencyStore, IdempotentResult, RepositoryError, Revision, SwapOutcome,
    VersionedRecord,
};
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::{
    CorruptRecord, RedisRepository,
    connection::{Call, Command},
    error::CallError,
    record::{Envelope, Key, VERSION_1, from_micros, to_micros},
    repository::{commands::seconds, compare_and_swap},
};

/// Pauses before the attempts to delete an idempotency record whose creation failed. Redis may have
/// stored the record although its reply was lost.
const FORGET_PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Plaintext of an idempotency record, encoded with postcard.
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

/// The Redis key and the encryption of one idempotency record.
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
        self.envelope.seal(VERSION_1, content)
    }

    fn open(&self, value: Bytes) -> Result<VersionedRecord, CallError> {
        let revision = Revision::new(value.to_vec());
        // The decrypted token is wiped on drop.
        let mut value = Zeroizing::new(Vec::from(value));
        let record = self.decode(&mut value)?;
        Ok(VersionedRecord { record, revision })
    }

    fn decode(&self, value: &mut [u8]) -> Result<IdempotencyRecord, CallError> {
        let (_version, content) = self.envelope.open(value, VERSION_1)?;
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

/// Converts the error of a call about an idempotency record. If the record is corrupt, returns the
/// error for an unavailable store. The error `Corrupt` would be wrong, because callers treat it as
/// an invalid session token. The client can use another `Idempotency-Key`.
fn store_error(error: CallError) -> RepositoryError {
    if error.is_corrupt() {
        RepositoryError::unavailable(error)
    } else {
        error.into()
    }
}

impl RedisRepository {
    /// Deletes the idempotency record under `key` in the background if its value is still `seen`.
    /// Makes several attempts, because the connection on which the reply was lost may first have to
    /// be replaced.
    fn forget_in_background(&self, key: Key, seen: Vec<u8>) {
        let repository = self.clone();
        self.runtime.spawn(async move {
            for pause in FORGET_PAUSES {
                sleep(pause).await;
                match repository.forget_value(&key, &seen).await {
                    Ok(_) => return,
                    Err(error) => {
                        let error = ErrorChain(&error);
                        tracing::debug!(%error, "Idempotency record not removed");
                    }
                }
            }
        });
    }

    async fn forget_value(&self, key: &Key, seen: &[u8]) -> Result<bool, CallError> {
        let remove =
            |call: Call| async move { compare_and_swap::remove_value(&call, key, seen).await };
        let deadline = self.deadline();
        let removed = self.pool.call(key, "EVAL", deadline, remove).await?;
        Ok(removed == SwapOutcome::Swapped)
    }
}

impl IdempotencyStore for RedisRepository {
    /// Stores the idempotency record with `SET key value EX ttl NX GET`. If the key already exists,
    /// this command returns the existing value.
    async fn begin(
        &self,
        key: &IdempotencyKey,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> Result<BeginOutcome, RepositoryError> {
        let location = &Location::of(key);
        let own = location.seal(record);
        let (value, ttl) = (&own, seconds(ttl));
        let set = |call: Call| async move {
            let key = location.key.as_bytes();
            let arguments = [key, value, b"EX", ttl.as_bytes(), b"NX", b"GET"];
            let [reply] = call.send([Command::new("SET", &arguments)]).await?;
            Ok(reply.bulk("SET")?)
        };
        let deadline = self.deadline();
        match self.pool.call(&location.key, "SET", deadline, set).await {
            Ok(None) => Ok(BeginOutcome::Begun(Revision::new(own))),
            Ok(Some(existing)) => {
                let existing = location.open(existing).map_err(store_error)?;
                Ok(BeginOutcome::Exists(Box::new(existing)))
            }
            Err(error) => {
                // Redis may have stored the record although its reply was lost. Until the lease in
                // this record ends, a repetition of the request would have to wait. The record can
                // be deleted, because no session has its token yet.
                self.forget_in_background(location.key, own);
                Err(store_error(error))
            }
        }
    }

    /// Loads the idempotency record with `GET`. A write that changes nothing (`PEXPIRE key 1 GT`)
    /// is sent as well, so that a server that has become a replica returns an error instead of
    /// stale data.
    async fn find(&self, key: &IdempotencyKey) -> Result<Option<VersionedRecord>, RepositoryError> {
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
            .and_then(|value| value.map(|value| location.open(value)).transpose())
            .map_err(store_error)
    }

    async fn replace(
        &self,
        key: &IdempotencyKey,
        seen: &Revision,
        record: &IdempotencyRecord,
        ttl: Duration,
    ) -> Result<Option<Revision>, RepositoryError> {
        let location = &Location::of(key);
        let next = location.seal(record);
        let values = (seen.expose_secret(), &*next);
        let swap = |call: Call| async move {
            compare_and_swap::swap_value(&call, &location.key, values, ttl).await
        };
        let deadline = self.deadline();
        let swapped = self.pool.call(&location.key, "EVAL", deadline, swap).await;
        let is_swapped = swapped.map_err(store_error)? == SwapOutcome::Swapped;
        Ok(is_swapped.then(|| Revision::new(next)))
    }

    async fn forget(&self, key: &IdempotencyKey, seen: &Revision) -> Result<bool, RepositoryError> {
        let key = Location::of(key).key;
        let forgotten = self.forget_value(&key, seen.expose_secret()).await;
        forgotten.map_err(store_error)
    }
}
