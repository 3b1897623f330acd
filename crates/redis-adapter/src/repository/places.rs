//! The places where a session may be stored, and look-ups in all of them.

use std::time::Duration;

use arrayvec::ArrayVec;
use futures_util::future::join;
use tee_session_domain::SessionToken;

use super::{RedisRepository, migration};
use crate::{StorageFormat, connection::Call, error::CallError, record::Slot};

/// The places where a session may be stored.
pub(super) enum Places {
    One(Slot),
    /// Plain records are written; sealed ones remain from instances that were rolled back.
    PlainElseSealed {
        plain: Slot,
        sealed: Slot,
    },
    /// Sealed records are written; plain ones remain from before.
    Moving {
        plain: Slot,
        sealed: Slot,
    },
}

/// The treatment of a plain record that a look-up finds while a fleet moves to sealed ones.
#[derive(Clone, Copy)]
pub(super) enum Plain {
    /// Leaves it where it is.
    Leave,
    /// Seals it first. The time to live is for a record without an expiry.
    Seal(Option<Duration>),
}

impl Places {
    /// Returns all of them: the plain place before the sealed one, since records move that way.
    pub(super) fn all(&self) -> ArrayVec<&Slot, 2> {
        match self {
            Self::One(slot) => ArrayVec::from_iter([slot]),
            Self::PlainElseSealed { plain, sealed } | Self::Moving { plain, sealed } => {
                ArrayVec::from([plain, sealed])
            }
        }
    }
}

impl RedisRepository {
    pub(super) fn places(&self, token: &SessionToken) -> Places {
        let slot = |format| Slot::new(format, token);
        match (self.format, self.accept_plain) {
            (StorageFormat::Sealed, false) => Places::One(slot(StorageFormat::Sealed)),
            (StorageFormat::Sealed, true) => Places::Moving {
                plain: slot(StorageFormat::Plain),
                sealed: slot(StorageFormat::Sealed),
            },
            (StorageFormat::Plain, _) => Places::PlainElseSealed {
                plain: slot(StorageFormat::Plain),
                sealed: slot(StorageFormat::Sealed),
            },
        }
    }

    /// Looks a session up with `read` in its `places`: one round trip if that is one place.
    ///
    /// Look-ups of two places travel alone, plain before sealed. If the plain place is empty
    /// because the session has just been moved, the session is found in the other.
    pub(super) async fn look_up<'a, T, F>(
        &self,
        places: &'a Places,
        plain_records: Plain,
        read: impl Fn(Call, &'a Slot) -> F,
    ) -> Result<Option<T>, CallError>
    where
        F: Future<Output = Result<Option<T>, CallError>>,
    {
        let deadline = self.deadline();
        match places {
            Places::One(slot) => {
                let send = |call| read(call, slot);
                self.pool.call(slot.key(), "GET", deadline, send).await
            }
            // What is rarely awaited is boxed, so that it does not make every call larger.
            Places::PlainElseSealed { plain, sealed } if !self.pool.is_clustered() => {
                let read = &read;
                let send = |call: Call| async move {
                    let call = call.alone();
                    match read(call.clone(), plain).await? {
                        None => read(call, sealed).await,
                        found => Ok(found),
                    }
                };
                let looked_up = self.pool.call(plain.key(), "GET", deadline, send);
                Box::pin(looked_up).await
            }
            // The two keys may belong to two servers.
            Places::PlainElseSealed { plain, sealed } => {
                for slot in [plain, sealed] {
                    let send = |call: Call| read(call.alone(), slot);
                    let looked_up = self.pool.call(slot.key(), "GET", deadline, send);
                    if let Some(found) = Box::pin(looked_up).await? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            Places::Moving { plain, sealed } => {
                let read = &read;
                let send = |call: Call| async move {
                    let call = call.alone();
                    match plain_records {
                        Plain::Seal(ttl) => {
                            let read = || read(call.clone(), sealed);
                            migration::once_sealed(&call, (plain, sealed), ttl, read).await
                        }
                        Plain::Leave => {
                            let in_plain = read(call.clone(), plain);
                            match join(in_plain, read(call, sealed)).await {
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
}
