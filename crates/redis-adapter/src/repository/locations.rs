//! The locations (Redis keys) where the record of a session may be stored, and look-ups and
//! deletions in these locations.

use std::time::Duration;

use arrayvec::ArrayVec;
use futures_util::future::join;
use tee_session_domain::SessionToken;
use tokio::time::Instant;

use super::{RedisRepository, commands, migration};
use crate::{StorageFormat, connection::Call, error::CallError, record::RecordLocation};

/// The locations (Redis keys) where the record of a session may be stored, depending on the
/// settings of this instance.
pub(super) enum Candidates {
    /// The instance reads and writes only sealed (encrypted) records.
    One(RecordLocation),
    /// The instance writes plain records. Sealed (encrypted) records may exist from the time before
    /// a rollback to plain records.
    PlainElseSealed {
        plain: RecordLocation,
        sealed: RecordLocation,
    },
    /// The instance writes sealed (encrypted) records. Plain records may exist from the time before
    /// the migration to sealed records.
    Moving {
        plain: RecordLocation,
        sealed: RecordLocation,
    },
}

/// Treatment of a plain record that a look-up finds while a fleet of instances migrates to sealed
/// (encrypted) records.
#[derive(Clone, Copy)]
pub(super) enum Plain {
    /// Reads the plain record and leaves it unchanged.
    Leave,
    /// Converts the plain record to a sealed (encrypted) record, and then reads the sealed record.
    /// If the plain record has no expiry, the sealed record gets the TTL in this variant. If this
    /// TTL is `None`, the sealed record has no expiry either.
    Seal(Option<Duration>),
}

impl Candidates {
    /// Returns all candidate locations in the order in which they must be read. The plain location
    /// comes first, because the migration moves records from plain to sealed.
    pub(super) fn all(&self) -> ArrayVec<&RecordLocation, 2> {
        match self {
            Self::One(location) => ArrayVec::from_iter([location]),
            Self::PlainElseSealed { plain, sealed } | Self::Moving { plain, sealed } => {
                ArrayVec::from([plain, sealed])
            }
        }
    }
}

impl RedisRepository {
    pub(super) fn candidates(&self, token: &SessionToken) -> Candidates {
        let location = |format| RecordLocation::new(format, token);
        match (self.format, self.accept_plain) {
            (StorageFormat::Sealed, false) => Candidates::One(location(StorageFormat::Sealed)),
            (StorageFormat::Sealed, true) => Candidates::Moving {
                plain: location(StorageFormat::Plain),
                sealed: location(StorageFormat::Sealed),
            },
            (StorageFormat::Plain, _) => Candidates::PlainElseSealed {
                plain: location(StorageFormat::Plain),
                sealed: location(StorageFormat::Sealed),
            },
        }
    }

    /// Looks up a session by calling `load` for each location (Redis key) where its record may be
    /// stored. Returns `None` if no location contains a record. If there is only one location, the
    /// look-up takes one round trip.
    ///
    /// If there are two locations, the look-up is not batched with other look-ups, and the plain
    /// location is read before the sealed (encrypted) one. If another instance moves the record
    /// from plain to sealed between the two reads, the look-up still finds the record in the sealed
    /// location.
    pub(super) async fn look_up<'a, T, F>(
        &self,
        candidates: &'a Candidates,
        plain_records: Plain,
        load: impl Fn(Call, &'a RecordLocation) -> F,
    ) -> Result<Option<T>, CallError>
    where
        F: Future<Output = Result<Option<T>, CallError>>,
    {
        let deadline = self.deadline();
        match candidates {
            Candidates::One(location) => {
                let send = |call| load(call, location);
                self.pool.call(location.key(), "GET", deadline, send).await
            }
            // Futures of rare code paths are boxed, so that they do not increase the size of the
            // future of every call.
            Candidates::PlainElseSealed { plain, sealed } if !self.pool.is_clustered() => {
                let load = &load;
                let send = |call: Call| async move {
                    let call = call.unbatched();
                    match load(call.clone(), plain).await? {
                        None => load(call, sealed).await,
                        found => Ok(found),
                    }
                };
                let looked_up = self.pool.call(plain.key(), "GET", deadline, send);
                Box::pin(looked_up).await
            }
            // In a cluster, the two keys may belong to different servers, so each key needs a
            // separate call.
            Candidates::PlainElseSealed { plain, sealed } => {
                for location in [plain, sealed] {
                    let send = |call: Call| load(call.unbatched(), location);
                    let looked_up = self.pool.call(location.key(), "GET", deadline, send);
                    if let Some(found) = Box::pin(looked_up).await? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            Candidates::Moving { plain, sealed } => {
                let load = &load;
                let send = |call: Call| async move {
                    let call = call.unbatched();
                    match plain_records {
                        Plain::Seal(ttl) => {
                            let load = || load(call.clone(), sealed);
                            migration::once_sealed(&call, (plain, sealed), ttl, load).await
                        }
                        Plain::Leave => {
                            let in_plain = load(call.clone(), plain);
                            match join(in_plain, load(call, sealed)).await {
                                (in_plain, Ok(None)) => in_plain,
                                (_, in_sealed) => in_sealed,
                            }
                        }
                    }
                };
                let looked_up = self.pool.call(plain.key(), "GET", deadline, send);
                Box::pin(looked_up).await
            }
        }
    }

    /// Deletes the records at all `locations` with one command. Returns `true` if at least one
    /// record existed.
    pub(super) async fn delete(
        &self,
        locations: &[&RecordLocation],
        deadline: Instant,
    ) -> Result<bool, CallError> {
        let keys: ArrayVec<&[u8], 2> = locations
            .iter()
            .map(|location| location.key().as_bytes())
            .collect();
        let keys = keys.as_slice();
        let delete = |call: Call| async move { commands::delete(&call, keys).await };
        self.pool
            .call(locations[0].key(), "DEL", deadline, delete)
            .await
    }
}
