//! One part of the store: a map of sessions and the queue of their ends.

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    time::Duration,
};

use tee_session_domain::{InsertOutcome, Session, SessionToken};
use time::OffsetDateTime;

/// Sessions, and for each one entry in a queue ordered by time.
///
/// A slide only moves the session's own deadline. Its queue entry stays where it was: when that
/// comes up, it is either put back at the new deadline, or the session has ended. So a slide
/// costs one look-up in a map, however many sessions there are.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    sessions: HashMap<SessionToken, Entry>,
    queue: BTreeMap<QueueKey, SessionToken>,
    next_sequence_number: u64,
}

/// When to look at a session; the number tells apart what falls on the same microsecond.
type QueueKey = (OffsetDateTime, u64);

#[derive(Debug)]
struct Entry {
    session: Session,
    deadline: OffsetDateTime,
    queue_key: QueueKey,
}

impl Shard {
    pub(crate) fn insert(
        &mut self,
        token: &SessionToken,
        session: &Session,
        deadline: OffsetDateTime,
    ) -> InsertOutcome {
        let queue_key = (deadline, self.next_sequence_number);
        match self.sessions.entry(token.clone()) {
            hash_map::Entry::Occupied(_) => InsertOutcome::TokenTaken,
            hash_map::Entry::Vacant(entry) => {
                entry.insert(Entry {
                    session: session.clone(),
                    deadline,
                    queue_key,
                });
                self.queue.insert(queue_key, token.clone());
                self.next_sequence_number += 1;
                InsertOutcome::Inserted
            }
        }
    }

    pub(crate) fn slide(
        &mut self,
        token: &SessionToken,
        now: OffsetDateTime,
        deadline: OffsetDateTime,
    ) -> Option<Session> {
        let entry = self
            .sessions
            .get_mut(token)
            .filter(|entry| entry.deadline > now)?;
        entry.deadline = deadline;
        Some(entry.session.clone())
    }

    pub(crate) fn peek(
        &self,
        token: &SessionToken,
        now: OffsetDateTime,
    ) -> Option<(Session, Duration)> {
        let entry = self
            .sessions
            .get(token)
            .filter(|entry| entry.deadline > now)?;
        let remaining = Duration::try_from(entry.deadline - now).unwrap_or(Duration::ZERO);
        Some((entry.session.clone(), remaining))
    }

    /// Whether it was there, and whether it was still alive.
    pub(crate) fn remove(&mut self, token: &SessionToken, now: OffsetDateTime) -> Removed {
        let Some(entry) = self.sessions.remove(token) else {
            return Removed::Nothing;
        };
        self.queue.remove(&entry.queue_key);
        if entry.deadline > now {
            Removed::Live
        } else {
            Removed::Ended
        }
    }

    /// Looks at up to `limit` queue entries that are due and removes the sessions that have
    /// ended; tells how many.
    pub(crate) fn sweep(&mut self, now: OffsetDateTime, limit: usize) -> usize {
        let mut removed = 0;
        for _ in 0..limit {
            let Some(due) = self
                .queue
                .first_entry()
                .filter(|entry| entry.key().0 <= now)
            else {
                break;
            };
            let ((_, sequence_number), token) = due.remove_entry();
            match self.sessions.entry(token) {
                hash_map::Entry::Occupied(mut entry) if entry.get().deadline > now => {
                    let queue_key = (entry.get().deadline, sequence_number);
                    entry.get_mut().queue_key = queue_key;
                    self.queue.insert(queue_key, entry.key().clone());
                }
                hash_map::Entry::Occupied(entry) => {
                    entry.remove();
                    removed += 1;
                }
                hash_map::Entry::Vacant(_) => {}
            }
        }
        removed
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.sessions.len(), self.queue.len())
    }
}

/// What [`Shard::remove`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    Live,
    Ended,
    Nothing,
}
