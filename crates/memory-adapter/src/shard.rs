//! One part of the store: a map of sessions and the queue of their ends.

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    time::Duration,
};

use tee_session_domain::{InsertOutcome, Session, SessionId, Subject, SwapOutcome};
use time::OffsetDateTime;

/// Sessions, and for each one entry in a queue ordered by time.
///
/// A slide only moves the session's own deadline. Its queue entry stays where it was: when that
/// comes up, it is either put back at the new deadline, or the session has ended. So a slide
/// costs one look-up in a map, however many sessions there are. Tokens are not kept.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    sessions: HashMap<SessionId, Entry>,
    queue: BTreeMap<QueueKey, SessionId>,
    next_sequence_number: u64,
}

/// When to look at a session; the number tells apart what falls on the same microsecond.
type QueueKey = (OffsetDateTime, u64);

#[derive(Debug)]
struct Entry {
    session: Session,
    deadline: OffsetDateTime,
    queue_key: QueueKey,
    /// No other state of a session in this shard has it.
    revision: u64,
}

impl Shard {
    pub(crate) fn insert(
        &mut self,
        id: SessionId,
        session: &Session,
        deadline: OffsetDateTime,
    ) -> InsertOutcome {
        let number = self.next_number();
        let queue_key = (deadline, number);
        match self.sessions.entry(id) {
            hash_map::Entry::Occupied(_) => InsertOutcome::TokenTaken,
            hash_map::Entry::Vacant(entry) => {
                entry.insert(Entry {
                    session: session.clone(),
                    deadline,
                    queue_key,
                    revision: number,
                });
                self.queue.insert(queue_key, id);
                InsertOutcome::Inserted
            }
        }
    }

    pub(crate) fn slide(
        &mut self,
        id: SessionId,
        now: OffsetDateTime,
        deadline: OffsetDateTime,
    ) -> Option<Session> {
        let entry = self.live_mut(id, now)?;
        entry.deadline = deadline;
        Some(entry.session.clone())
    }

    pub(crate) fn peek(&self, id: SessionId, now: OffsetDateTime) -> Option<(Session, Duration)> {
        let entry = self.live(id, now)?;
        Some((entry.session.clone(), entry.remaining(now)))
    }

    pub(crate) fn remaining(&self, id: SessionId, now: OffsetDateTime) -> Option<Duration> {
        Some(self.live(id, now)?.remaining(now))
    }

    pub(crate) fn revision(&self, id: SessionId, now: OffsetDateTime) -> Option<(Session, u64)> {
        let entry = self.live(id, now)?;
        Some((entry.session.clone(), entry.revision))
    }

    pub(crate) fn compare_and_swap(
        &mut self,
        id: SessionId,
        seen: Option<u64>,
        session: &Session,
        now: OffsetDateTime,
        deadline: OffsetDateTime,
    ) -> SwapOutcome {
        let revision = self.next_number();
        match self.live_mut(id, now) {
            None => SwapOutcome::Gone,
            Some(entry) if Some(entry.revision) != seen => SwapOutcome::Changed,
            Some(entry) => {
                entry.session = session.clone();
                entry.deadline = deadline;
                entry.revision = revision;
                SwapOutcome::Swapped
            }
        }
    }

    /// Removes the session if it is in the state that was seen.
    pub(crate) fn compare_and_remove(
        &mut self,
        id: SessionId,
        seen: Option<u64>,
        now: OffsetDateTime,
    ) -> SwapOutcome {
        match self.live(id, now) {
            None => SwapOutcome::Gone,
            Some(entry) if Some(entry.revision) != seen => SwapOutcome::Changed,
            Some(_) => {
                self.remove(id, now);
                SwapOutcome::Swapped
            }
        }
    }

    /// Whether it was there, and whether it was still alive.
    pub(crate) fn remove(&mut self, id: SessionId, now: OffsetDateTime) -> Removed {
        let Some(entry) = self.sessions.remove(&id) else {
            return Removed::Nothing;
        };
        self.queue.remove(&entry.queue_key);
        let subject = entry.session.subject;
        if entry.deadline > now {
            Removed::Live(subject)
        } else {
            Removed::Ended(subject)
        }
    }

    /// Looks at up to `limit` queue entries that are due and removes the sessions that have ended.
    pub(crate) fn sweep(&mut self, now: OffsetDateTime, limit: usize) -> Swept {
        let mut swept = Swept::default();
        for _ in 0..limit {
            let Some(due) = self
                .queue
                .first_entry()
                .filter(|entry| entry.key().0 <= now)
            else {
                break;
            };
            let ((_, sequence_number), id) = due.remove_entry();
            match self.sessions.entry(id) {
                hash_map::Entry::Occupied(mut entry) if entry.get().deadline > now => {
                    let queue_key = (entry.get().deadline, sequence_number);
                    entry.get_mut().queue_key = queue_key;
                    self.queue.insert(queue_key, id);
                }
                hash_map::Entry::Occupied(entry) => {
                    swept.sessions += 1;
                    let subject = entry.remove().session.subject;
                    swept
                        .of_subjects
                        .extend(subject.map(|subject| (subject, id)));
                }
                hash_map::Entry::Vacant(_) => {}
            }
        }
        swept
    }

    fn live(&self, id: SessionId, now: OffsetDateTime) -> Option<&Entry> {
        self.sessions.get(&id).filter(|entry| entry.deadline > now)
    }

    fn live_mut(&mut self, id: SessionId, now: OffsetDateTime) -> Option<&mut Entry> {
        let entry = self.sessions.get_mut(&id);
        entry.filter(|entry| entry.deadline > now)
    }

    fn next_number(&mut self) -> u64 {
        self.next_sequence_number += 1;
        self.next_sequence_number
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.sessions.len(), self.queue.len())
    }
}

impl Entry {
    fn remaining(&self, now: OffsetDateTime) -> Duration {
        Duration::try_from(self.deadline - now).unwrap_or(Duration::ZERO)
    }
}

/// What [`Shard::remove`] found, and whose it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Removed {
    Live(Option<Subject>),
    Ended(Option<Subject>),
    Nothing,
}

/// What [`Shard::sweep`] removed.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) sessions: usize,
    pub(crate) of_subjects: Vec<(Subject, SessionId)>,
}
