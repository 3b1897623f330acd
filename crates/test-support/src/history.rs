//! History of the operations that a service acknowledged to its clients. Tests use the history to
//! detect responses that contradict earlier responses.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use thiserror::Error;

/// State of a session, derived from the requests and responses so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The session exists, because its creation or the rotation to its token was acknowledged.
    Lives,
    /// The session may or may not exist. Either a delete was requested but not acknowledged, or the
    /// store may have lost the session.
    MayBeGone,
    /// The session does not exist, or no longer has this token. Either a delete or a rotation was
    /// acknowledged, or a read did not find a session whose state was
    /// [`MayBeGone`](Self::MayBeGone).
    Gone,
}

/// A response that contradicts the history of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Contradiction {
    /// The service did not find a session that no client has deleted.
    #[error("a session was lost")]
    Lost,
    /// The service returned a session that had been deleted.
    #[error("a deleted session came back")]
    CameBack,
    /// The service returned a version of a session that is older than a version that was already
    /// acknowledged or read.
    #[error("an update was lost")]
    UpdateLost,
    /// The service returned a session whose version is higher than the version of any update
    /// request.
    #[error("an update that no client requested")]
    NeverRequested,
    /// A request with an `Idempotency-Key` was repeated, and the service returned another token
    /// than before.
    #[error("a repetition returned another token")]
    ReplayDiffers,
    /// The service returned a session, but the attributes of the cookies belong to another version.
    #[error("a cookie has the attributes of another update")]
    AttributesDiffer,
}

/// State and versions of one session in the history. A version is a number that the client
/// increments with each update.
#[derive(Debug, Clone)]
struct Entry {
    known: Known,
    /// Version in the last acknowledged update or in the last read. A later response must not
    /// contain an older version. 0 if no version is known.
    acknowledged: u64,
    /// Version in the last update request. 0 before the first update request.
    requested: u64,
    /// Versions that were requested by merges of `Set-Cookie` lines. All other versions were
    /// requested by patches.
    merges: Vec<u64>,
}

/// History of the sessions of many clients.
///
/// Each session belongs to one client, and a client sends one request at a time. During a request,
/// no other request therefore changes the session. The state from before the request is still valid
/// when the response arrives, unless the store may have lost data during the request.
#[derive(Debug, Default)]
pub struct History {
    sessions: Mutex<HashMap<String, Entry>>,
    is_data_loss_possible: AtomicBool,
}

impl History {
    /// Records that the creation of a session with this token was acknowledged.
    pub fn created(&self, token: &str) {
        self.set(token, self.state_of_new_token());
    }

    /// Returns the state to record when a client has just received a new token of a session. The
    /// state is [`Known::MayBeGone`] if data loss is possible, and [`Known::Lives`] otherwise.
    fn state_of_new_token(&self) -> Known {
        if self.is_data_loss_possible.load(Ordering::SeqCst) {
            Known::MayBeGone
        } else {
            Known::Lives
        }
    }

    /// Begins (`true`) or ends (`false`) a period in which the store may lose data. Both also have
    /// the effect of [`data_may_be_lost`](Self::data_may_be_lost).
    ///
    /// If the creation of a session is acknowledged in such a period, the state of the session is
    /// [`Known::MayBeGone`], because the session may have been stored before the data loss.
    pub fn set_data_loss_possible(&self, is_possible: bool) {
        self.is_data_loss_possible
            .store(is_possible, Ordering::SeqCst);
        self.data_may_be_lost();
    }

    /// Returns the state of the session with this token. The state of an unknown session is
    /// [`Known::MayBeGone`]. Tests read the state before a request and pass it to
    /// [`read`](Self::read).
    #[must_use]
    pub fn known(&self, token: &str) -> Known {
        let sessions = self.sessions();
        sessions
            .get(token)
            .map_or(Known::MayBeGone, |entry| entry.known)
    }

    /// Records the response to a read of a session. `found` is `true` if the service returned the
    /// session. `before` is the state of the session from before the request.
    ///
    /// # Errors
    /// - [`Contradiction::Lost`] if `before` is [`Known::Lives`] and the session was not found.
    /// - [`Contradiction::CameBack`] if `before` is [`Known::Gone`] and the session was found.
    ///
    /// In both cases the response determines the new state, so each contradiction is reported once.
    pub fn read(&self, token: &str, before: Known, found: bool) -> Result<(), Contradiction> {
        if self.known(token) != before {
            // The state changed during the request, because the store may have lost data. The
            // response therefore proves nothing.
            return Ok(());
        }
        match (before, found) {
            (Known::Gone, true) => {
                self.set(token, Known::Lives);
                Err(Contradiction::CameBack)
            }
            (Known::Lives, false) => {
                self.set(token, Known::Gone);
                Err(Contradiction::Lost)
            }
            (Known::MayBeGone, false) => {
                self.set(token, Known::Gone);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Records that a client is about to request an update of the session to `version`. `version`
    /// must be higher than all earlier versions of the session.
    pub fn update_asked(&self, token: &str, version: u64) {
        if let Some(entry) = self.sessions().get_mut(token) {
            entry.requested = version;
        }
    }

    /// Records, like [`update_asked`](Self::update_asked), that a client is about to request an
    /// update to `version`. The request is a merge of `Set-Cookie` lines, so that the cookies of
    /// this version have attributes.
    pub fn merge_asked(&self, token: &str, version: u64) {
        if let Some(entry) = self.sessions().get_mut(token) {
            entry.requested = version;
            entry.merges.push(version);
        }
    }

    /// Checks the attributes of the cookies in a response with `version` of the session. `merged`
    /// is `true` if the attributes are exactly those that a merge to this version sets, `false` if
    /// the cookies have no attributes, and `None` in any other case.
    ///
    /// # Errors
    /// [`Contradiction::AttributesDiffer`] if a merge has set this version and the attributes are
    /// missing or different, or if a patch has set this version and there are attributes.
    pub fn has_attributes(
        &self,
        token: &str,
        version: u64,
        merged: Option<bool>,
    ) -> Result<(), Contradiction> {
        let sessions = self.sessions();
        let Some(entry) = sessions.get(token) else {
            return Ok(());
        };
        if merged == Some(entry.merges.contains(&version)) {
            Ok(())
        } else {
            Err(Contradiction::AttributesDiffer)
        }
    }

    /// Records that a read returned `version` of the session, or that the update to `version` was
    /// acknowledged.
    ///
    /// # Errors
    /// - [`Contradiction::NeverRequested`] if `version` is higher than any requested version.
    /// - [`Contradiction::UpdateLost`] if a higher version was already acknowledged or read. From
    ///   then on, the lower `version` counts as the known version, so that each lost update is
    ///   reported only once.
    pub fn has_version(&self, token: &str, version: u64) -> Result<(), Contradiction> {
        let mut sessions = self.sessions();
        let Some(entry) = sessions.get_mut(token) else {
            return Ok(());
        };
        if version > entry.requested {
            return Err(Contradiction::NeverRequested);
        }
        let is_lost = version < entry.acknowledged;
        entry.acknowledged = version;
        if is_lost {
            Err(Contradiction::UpdateLost)
        } else {
            Ok(())
        }
    }

    /// Records that the service acknowledged a rotation from `token` to `successor`. From then on,
    /// `token` must be invalid, and `successor` must return the session with all acknowledged
    /// updates.
    pub fn rotated(&self, token: &str, successor: &str) {
        let mut sessions = self.sessions();
        if let Some(entry) = sessions.get_mut(token) {
            let moved = Entry {
                known: self.state_of_new_token(),
                ..entry.clone()
            };
            entry.known = Known::Gone;
            sessions.insert(successor.to_owned(), moved);
        }
    }

    /// Checks the token `repeated`, which the repetition of a request with an `Idempotency-Key` has
    /// returned. `token` is the token that the first request has returned.
    ///
    /// # Errors
    /// [`Contradiction::ReplayDiffers`] if the tokens differ. If the store may have lost data, it
    /// may have lost the idempotency record, so different tokens are then no error.
    pub fn replayed(&self, token: &str, repeated: &str) -> Result<(), Contradiction> {
        if token == repeated || self.known(token) != Known::Lives {
            Ok(())
        } else {
            Err(Contradiction::ReplayDiffers)
        }
    }

    /// Records that a client is about to request a delete, or another operation that ends the
    /// session. The state of a session that existed is then [`Known::MayBeGone`], because the
    /// session may end even if the request fails.
    pub fn delete_asked(&self, token: &str) {
        if self.known(token) == Known::Lives {
            self.set(token, Known::MayBeGone);
        }
    }

    /// Records that the delete of the session with this token was acknowledged.
    pub fn deleted(&self, token: &str) {
        self.set(token, Known::Gone);
    }

    /// Records that the store may have lost data. The state of each session that existed is then
    /// [`Known::MayBeGone`], and no version is known.
    pub fn data_may_be_lost(&self) {
        for entry in self.sessions().values_mut() {
            entry.acknowledged = 0;
            if entry.known == Known::Lives {
                entry.known = Known::MayBeGone;
            }
        }
    }

    /// Discards the states and acknowledged versions of all sessions, because earlier responses may
    /// have been wrong. The state of each session is then [`Known::MayBeGone`].
    pub fn forget_everything(&self) {
        for entry in self.sessions().values_mut() {
            entry.acknowledged = 0;
            entry.known = Known::MayBeGone;
        }
    }

    /// Returns the token and the state of each session in the history.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Known)> {
        let sessions = self.sessions();
        let known = |(token, entry): (&String, &Entry)| (token.clone(), entry.known);
        sessions.iter().map(known).collect()
    }

    fn set(&self, token: &str, known: Known) {
        let mut sessions = self.sessions();
        let entry = sessions.entry(token.to_owned()).or_insert(Entry {
            known,
            acknowledged: 0,
            requested: 0,
            merges: Vec::new(),
        });
        entry.known = known;
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
