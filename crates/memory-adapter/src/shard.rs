//! Shard of the in-memory repository: a map of sessions and a queue of their expiry times.

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    time::Duration,
};

use tee_session_domain::{InsertOutcome, Session, SessionId, Subject, SwapOutcome};
use time::OffsetDateTime;

/// A part of the stored sessions. Each session has one entry in a queue. The queue is ordered by
/// the time at which the shard must check whether the session has expired.
///
/// A touch (TTL renewal) changes the deadline of the session, but not the time of its queue entry.
/// When this time is reached, there are two cases. If the deadline is later, the session gets a new
/// queue entry for the deadline. If the deadline has passed, the session is removed. A touch
/// therefore costs one look-up in a map, regardless of the number of sessions. The shard does not
/// store tokens.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    sessions: HashMap<SessionId, Entry>,
    queue: BTreeMap<QueueKey, SessionId>,
    next_sequence_number: u64,
}

/// Time of the next expiry check of a session, and a number that distinguishes queue entries with
/// the same time.
type QueueKey = (OffsetDateTime, u64);

#[derive(Debug)]
struct Entry {
    session: Session,
    deadline: OffsetDateTime,
    queue_key: QueueKey,
    /// Revision number of the session's state. No other state of any session in this shard has the
    /// same number.
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

    pub(crate) fn load_and_touch(
        &mut self,
        id: SessionId,
        now: OffsetDateTime,
        deadline: OffsetDateTime,
    ) -> Option<Session> {
        let entry = self.live_mut(id, now)?;
        entry.deadline = deadline;
        Some(entry.session.clone())
    }

    pub(crate) fn load_with_ttl(
        &self,
        id: SessionId,
        now: OffsetDateTime,
    ) -> Option<(Session, Duration)> {
        let entry = self.live(id, now)?;
        Some((entry.session.clone(), entry.remaining(now)))
    }

    pub(crate) fn remaining(&self, id: SessionId, now: OffsetDateTime) -> Option<Duration> {
        Some(self.live(id, now)?.remaining(now))
    }

    /// Loads the session and its revision number. If `deadline` is `Some`, the session then expires
    /// at that time.
    pub(crate) fn load_for_update(
        &mut self,
        id: SessionId,
        now: OffsetDateTime,
        deadline: Option<OffsetDateTime>,
    ) -> Option<(Session, u64)> {
        let entry = self.live_mut(id, now)?;
        entry.deadline = deadline.unwrap_or(entry.deadline);
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

    /// Removes the session if it is live and its revision number is still `seen`.
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

    /// Removes the session and returns its subject. The result also shows whether the session was
    /// live or ended.
    pub(crate) fn remove(&mut self, id: SessionId, now: OffsetDateTime) -> Removed {
        let Some(entry) = self.sessions.remove(&id) else {
            return Removed::Nothing;
        };
        self.queue.remove(&entry.queue_key);
        let subject = entry.session.attributes.subject;
        if entry.deadline > now {
            Removed::Live(subject)
        } else {
            Removed::Ended(subject)
        }
    }

    /// Processes up to `limit` due entries of the queue, and removes sessions whose deadline has
    /// passed.
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
                    let subject = entry.remove().session.attributes.subject;
                    swept
                        .index_entries
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

/// Result of [`Shard::remove`]: state and subject of the removed session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Removed {
    Live(Option<Subject>),
    Ended(Option<Subject>),
    Nothing,
}

/// Result of [`Shard::sweep`]: number of removed sessions, and the subject index entries that must
/// be removed too.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) sessions: usize,
    pub(crate) index_entries: Vec<(Subject, SessionId)>,
}
