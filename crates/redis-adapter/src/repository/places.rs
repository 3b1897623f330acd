//! The places where a session may stand.

use tee_session_domain::SessionToken;

use super::RedisRepository;
use crate::{StorageFormat, record::Slot};

/// Where a session may stand.
pub(super) enum Places {
    One(Slot),
    /// Plain is written; sealed ones are left from instances that were rolled back.
    PlainElseSealed {
        plain: Slot,
        sealed: Slot,
    },
    /// Sealed is written; plain ones are left from before, and sealed when they are accessed.
    Moving {
        plain: Slot,
        sealed: Slot,
    },
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
}
