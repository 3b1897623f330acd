//! Entries of the in-memory subject index, which lists the sessions of each subject.

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    ops::Bound,
};

use tee_session_domain::{
    IndexCursor, IndexEntry, LastRevocation, Session, SessionAttributes, SessionId, Subject,
};
use time::OffsetDateTime;

/// Subject index entries of all subjects. Code that removes the record of a session must also
/// remove the index entry of the session.
#[derive(Debug, Default)]
pub(crate) struct SubjectEntries(HashMap<Subject, Entries>);

/// Index entries of one subject, ordered by their position. A position is based on the time of
/// creation, in microseconds since the Unix epoch.
#[derive(Debug, Default)]
struct Entries {
    in_order: BTreeMap<PositionKey, Details>,
    positions: HashMap<SessionId, u64>,
    last_revocation: u64,
}

type PositionKey = (u64, [u8; 16]);

/// Data of a session in its index entry, for lists. The record of the session is stored in a shard.
#[derive(Debug, Clone)]
pub(crate) struct Details {
    pub(crate) id: SessionId,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) absolute_end: Option<OffsetDateTime>,
    pub(crate) attributes: SessionAttributes,
}

impl SubjectEntries {
    /// Adds `entry`. `session` is `entry.session`, with its times converted to the store's clock.
    pub(crate) fn add(
        &mut self,
        entry: &IndexEntry,
        session: &Session,
        now: OffsetDateTime,
    ) -> LastRevocation {
        let id = SessionId::of(&entry.token);
        let entries = self.0.entry(entry.subject.clone()).or_default();
        let position = match entry.succeeds.as_ref().map(SessionId::of) {
            None => entries.next_position(now),
            Some(predecessor) => {
                let position = entries.positions.get(&predecessor).copied();
                position.unwrap_or_else(|| micros(session.created_at))
            }
        };
        entries.remove(id);
        entries.positions.insert(id, position);
        entries.in_order.insert(
            (position, *id.as_bytes()),
            Details {
                id,
                created_at: session.created_at,
                absolute_end: session.absolute_end,
                attributes: session.attributes.clone(),
            },
        );
        LastRevocation(entries.last_revocation)
    }

    pub(crate) fn contains(&self, subject: &Subject, id: SessionId, last: LastRevocation) -> bool {
        self.0.get(subject).is_some_and(|entries| {
            let position = entries.positions.get(&id);
            let is_revoked = position.is_none_or(|position| *position < entries.last_revocation);
            !is_revoked && entries.last_revocation == last.0
        })
    }

    pub(crate) fn remove(&mut self, subject: &Subject, id: SessionId) {
        if let hash_map::Entry::Occupied(mut entries) = self.0.entry(subject.clone()) {
            entries.get_mut().remove(id);
            // When a subject has no session left, its last revocation can be forgotten. Positions
            // follow the clock, so sessions that are added later get higher positions.
            if entries.get().positions.is_empty() {
                entries.remove();
            }
        }
    }

    /// Returns up to `limit` entries of the subject that come after the cursor `after`. Each entry
    /// is returned with a cursor. With this cursor, a later call continues after the entry.
    pub(crate) fn page(
        &self,
        subject: &Subject,
        after: Option<IndexCursor>,
        limit: usize,
    ) -> Vec<(IndexCursor, Details)> {
        let Some(entries) = self.0.get(subject) else {
            return Vec::new();
        };
        let after = after.map(|cursor| (cursor.position, *cursor.id.as_bytes()));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let in_order = entries.in_order.range((from, Bound::Unbounded));
        let cursor = |position, id| IndexCursor { position, id };
        in_order
            .take(limit)
            .map(|((position, _), details)| (cursor(*position, details.id), details.clone()))
            .collect()
    }

    pub(crate) fn mark_revocation(
        &mut self,
        subject: &Subject,
        now: OffsetDateTime,
    ) -> LastRevocation {
        let Some(entries) = self.0.get_mut(subject) else {
            return LastRevocation(micros(now));
        };
        entries.last_revocation = entries.next_position(now);
        LastRevocation(entries.last_revocation)
    }

    /// Returns the ids of up to `limit` sessions of `subject` whose position in the index is lower
    /// than the position of `revocation`.
    pub(crate) fn older_than(
        &self,
        subject: &Subject,
        revocation: LastRevocation,
        limit: usize,
    ) -> Vec<SessionId> {
        let entries = self.0.get(subject);
        let in_order = entries.into_iter().flat_map(|entries| &entries.in_order);
        in_order
            .take_while(|((position, _), _)| *position < revocation.0)
            .map(|(_, details)| details.id)
            .take(limit)
            .collect()
    }
}

#[cfg(test)]
impl SubjectEntries {
    pub(crate) fn subjects(&self) -> usize {
        self.0.len()
    }
}

impl Entries {
    /// Returns the next position in the index, in microseconds since the Unix epoch. This position
    /// is higher than the positions of all sessions and of the last revocation of the subject.
    fn next_position(&self, now: OffsetDateTime) -> u64 {
        let last = self.in_order.last_key_value();
        let last = last.map_or(0, |((position, _), _)| *position);
        micros(now).max(last.max(self.last_revocation) + 1)
    }

    fn remove(&mut self, id: SessionId) {
        if let Some(position) = self.positions.remove(&id) {
            self.in_order.remove(&(position, *id.as_bytes()));
        }
    }
}

fn micros(time: OffsetDateTime) -> u64 {
    let since_epoch = time - OffsetDateTime::UNIX_EPOCH;
    u64::try_from(since_epoch.whole_microseconds()).unwrap_or(0)
}
