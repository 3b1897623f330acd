//! What was acknowledged to clients, and what contradicts it.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use thiserror::Error;

/// What is known of a session from the answers so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Its creation was acknowledged.
    Lives,
    /// A delete was asked for and the answer was lost, or the store may have lost it.
    MayBeGone,
    /// A delete was acknowledged, or a read said so after one was asked for.
    Gone,
}

/// An answer that cannot be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Contradiction {
    /// Nobody deleted it, and it is not there.
    #[error("a session was lost")]
    Lost,
    /// It was deleted, and is there.
    #[error("a deleted session came back")]
    CameBack,
    /// It is in a state from before a change that was acknowledged or seen.
    #[error("an update was lost")]
    UpdateLost,
    /// It is in a state that nobody asked for.
    #[error("an update that nobody asked for")]
    NeverAsked,
}

/// What is known of a session: whether it lives, and its version, a number that its client raises
/// with each change.
#[derive(Debug, Clone, Copy)]
struct Entry {
    known: Known,
    /// The latest version that was acknowledged or seen.
    acknowledged: u64,
    /// The latest version that was asked for.
    asked: u64,
}

/// The sessions of many clients. Each session has one client, which asks one thing at a time: what
/// is known before a question is known when it is answered.
#[derive(Debug, Default)]
pub struct History {
    sessions: Mutex<HashMap<String, Entry>>,
    may_forget: AtomicBool,
}

impl History {
    /// A session was created: its token was handed out.
    pub fn created(&self, token: &str) {
        self.note(token, self.known_of_new_token());
    }

    /// Returns what is known of a session whose new token has just been acknowledged.
    fn known_of_new_token(&self) -> Known {
        if self.may_forget.load(Ordering::SeqCst) {
            Known::MayBeGone
        } else {
            Known::Lives
        }
    }

    /// Begins or ends a time in which the store may lose what it holds. A session whose creation is
    /// acknowledged in it may have been stored before the loss.
    pub fn store_may_forget(&self, may_forget: bool) {
        self.may_forget.store(may_forget, Ordering::SeqCst);
        self.lives_no_longer_known();
    }

    /// What is known of the session, from before the next question.
    #[must_use]
    pub fn known(&self, token: &str) -> Known {
        let sessions = self.sessions();
        sessions
            .get(token)
            .map_or(Known::MayBeGone, |entry| entry.known)
    }

    /// A read was answered.
    ///
    /// # Errors
    /// When the answer contradicts what was known `before`: once, for from then on the answer is
    /// what is known.
    pub fn read(&self, token: &str, before: Known, found: bool) -> Result<(), Contradiction> {
        if self.known(token) != before {
            // Meanwhile the store was made to forget: the answer proves nothing.
            return Ok(());
        }
        match (before, found) {
            (Known::Gone, true) => {
                self.note(token, Known::Lives);
                Err(Contradiction::CameBack)
            }
            (Known::Lives, false) => {
                self.note(token, Known::Gone);
                Err(Contradiction::Lost)
            }
            (Known::MayBeGone, false) => {
                self.note(token, Known::Gone);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A change to `version`, higher than any before, is about to be asked for.
    pub fn update_asked(&self, token: &str, version: u64) {
        if let Some(entry) = self.sessions().get_mut(token) {
            entry.asked = version;
        }
    }

    /// The session was seen in this version, or the change to it was acknowledged.
    ///
    /// # Errors
    /// When it was in a later version already, once, for from then on this is what is known; or when
    /// nobody asked for this one.
    pub fn has_version(&self, token: &str, version: u64) -> Result<(), Contradiction> {
        let mut sessions = self.sessions();
        let Some(entry) = sessions.get_mut(token) else {
            return Ok(());
        };
        if version > entry.asked {
            return Err(Contradiction::NeverAsked);
        }
        let is_lost = version < entry.acknowledged;
        entry.acknowledged = version;
        if is_lost {
            Err(Contradiction::UpdateLost)
        } else {
            Ok(())
        }
    }

    /// A rotation was acknowledged: what the session was it is under its new token.
    pub fn rotated(&self, token: &str, successor: &str) {
        let mut sessions = self.sessions();
        if let Some(entry) = sessions.get_mut(token) {
            let as_before = Entry {
                known: self.known_of_new_token(),
                ..*entry
            };
            entry.known = Known::Gone;
            sessions.insert(successor.to_owned(), as_before);
        }
    }

    /// A delete, or what else ends it, is about to be asked for: from now on the session may be gone,
    /// whatever the answer will be.
    pub fn delete_asked(&self, token: &str) {
        if self.known(token) == Known::Lives {
            self.note(token, Known::MayBeGone);
        }
    }

    /// A delete was acknowledged.
    pub fn deleted(&self, token: &str) {
        self.note(token, Known::Gone);
    }

    /// The store is about to lose what it holds, or may: nobody can say any more what lives.
    pub fn lives_no_longer_known(&self) {
        for entry in self.sessions().values_mut() {
            entry.acknowledged = 0;
            if entry.known == Known::Lives {
                entry.known = Known::MayBeGone;
            }
        }
    }

    /// What was answered so far may have been false: nobody can say anything any more.
    pub fn nothing_is_known(&self) {
        for entry in self.sessions().values_mut() {
            entry.acknowledged = 0;
            entry.known = Known::MayBeGone;
        }
    }

    /// Every session there ever was.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Known)> {
        let sessions = self.sessions();
        let known = |(token, entry): (&String, &Entry)| (token.clone(), entry.known);
        sessions.iter().map(known).collect()
    }

    fn note(&self, token: &str, known: Known) {
        let mut sessions = self.sessions();
        let entry = sessions.entry(token.to_owned()).or_insert(Entry {
            known,
            acknowledged: 0,
            asked: 0,
        });
        entry.known = known;
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
