//! What was acknowledged to clients, and what contradicts it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
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
}

/// The sessions of many clients. Each session has one client, which asks one thing at a time: what
/// is known before a question is known when it is answered.
#[derive(Debug, Default)]
pub struct History {
    sessions: Mutex<HashMap<String, Known>>,
}

impl History {
    /// A session was created: its token was handed out.
    pub fn created(&self, token: &str) {
        self.note(token, Known::Lives);
    }

    /// What is known of the session, from before the next question.
    #[must_use]
    pub fn known(&self, token: &str) -> Known {
        let sessions = self.sessions();
        sessions.get(token).copied().unwrap_or(Known::MayBeGone)
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

    /// A delete is about to be asked for: from now on the session may be gone, whatever the answer
    /// will be.
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
        let mut sessions = self.sessions();
        let living = sessions
            .values_mut()
            .filter(|known| **known == Known::Lives);
        living.for_each(|known| *known = Known::MayBeGone);
    }

    /// What was answered so far may have been false: nobody can say anything any more.
    pub fn nothing_is_known(&self) {
        let mut sessions = self.sessions();
        sessions
            .values_mut()
            .for_each(|known| *known = Known::MayBeGone);
    }

    /// Every session there ever was.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Known)> {
        self.sessions().clone().into_iter().collect()
    }

    fn note(&self, token: &str, known: Known) {
        self.sessions().insert(token.to_owned(), known);
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
