//! Which sessions each subject has.

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    ops::Bound,
};

use tee_session_domain::{IndexCursor, IndexEntry, Label, LastRevocation, SessionId, Subject};
use time::OffsetDateTime;

/// The entries of all subjects. An entry lives as long as its session's record, which whoever removes
/// that sees to.
#[derive(Debug, Default)]
pub(crate) struct SubjectEntries(HashMap<Subject, Entries>);

/// Those of one subject, in the order of their places.
#[derive(Debug, Default)]
struct Entries {
    in_order: BTreeMap<Place, Details>,
    places: HashMap<SessionId, u64>,
    last_revocation: u64,
}

type Place = (u64, [u8; 16]);

/// What is kept of a session beside its record.
#[derive(Debug, Clone)]
pub(crate) struct Details {
    pub(crate) id: SessionId,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) absolute_end: Option<OffsetDateTime>,
    pub(crate) label: Option<Label>,
}

impl SubjectEntries {
    pub(crate) fn enter(&mut self, entry: &IndexEntry, now: OffsetDateTime) -> LastRevocation {
        let id = SessionId::of(&entry.token);
        let session = &entry.session;
        let entries = self.0.entry(entry.subject.clone()).or_default();
        let place = match entry.succeeds.as_ref().map(SessionId::of) {
            None => entries.next_place(now),
            Some(predecessor) => {
                let place = entries.places.get(&predecessor).copied();
                place.unwrap_or_else(|| micros(session.created_at))
            }
        };
        entries.remove(id);
        entries.places.insert(id, place);
        entries.in_order.insert(
            (place, *id.as_bytes()),
            Details {
                id,
                created_at: session.created_at,
                absolute_end: session.absolute_end,
                label: session.label.clone(),
            },
        );
        LastRevocation(entries.last_revocation)
    }

    pub(crate) fn stands(&self, subject: &Subject, id: SessionId, last: LastRevocation) -> bool {
        self.0.get(subject).is_some_and(|entries| {
            let place = entries.places.get(&id);
            let is_revoked = place.is_none_or(|place| *place < entries.last_revocation);
            !is_revoked && entries.last_revocation == last.0
        })
    }

    pub(crate) fn remove(&mut self, subject: &Subject, id: SessionId) {
        if let hash_map::Entry::Occupied(mut entries) = self.0.entry(subject.clone()) {
            entries.get_mut().remove(id);
            // A revocation need not be remembered where nothing is left: places follow the clock.
            if entries.get().places.is_empty() {
                entries.remove();
            }
        }
    }

    /// Up to `limit` entries from `after` on, and the cursor behind them.
    pub(crate) fn page(
        &self,
        subject: &Subject,
        after: Option<IndexCursor>,
        limit: usize,
    ) -> Vec<(IndexCursor, Details)> {
        let Some(entries) = self.0.get(subject) else {
            return Vec::new();
        };
        let after = after.map(|cursor| (cursor.place, *cursor.id.as_bytes()));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let in_order = entries.in_order.range((from, Bound::Unbounded));
        let cursor = |place, id| IndexCursor { place, id };
        in_order
            .take(limit)
            .map(|((place, _), details)| (cursor(*place, details.id), details.clone()))
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
        entries.last_revocation = entries.next_place(now);
        LastRevocation(entries.last_revocation)
    }

    /// Up to `limit` sessions whose place is lower than that of `revocation`.
    pub(crate) fn older(
        &self,
        subject: &Subject,
        revocation: LastRevocation,
        limit: usize,
    ) -> Vec<SessionId> {
        let entries = self.0.get(subject);
        let in_order = entries.into_iter().flat_map(|entries| &entries.in_order);
        in_order
            .take_while(|((place, _), _)| *place < revocation.0)
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
    /// After every other and after every revocation.
    fn next_place(&self, now: OffsetDateTime) -> u64 {
        let last = self.in_order.last_key_value();
        let last = last.map_or(0, |((place, _), _)| *place);
        micros(now).max(last.max(self.last_revocation) + 1)
    }

    fn remove(&mut self, id: SessionId) {
        if let Some(place) = self.places.remove(&id) {
            self.in_order.remove(&(place, *id.as_bytes()));
        }
    }
}

fn micros(time: OffsetDateTime) -> u64 {
    let since_epoch = time - OffsetDateTime::UNIX_EPOCH;
    u64::try_from(since_epoch.whole_microseconds()).unwrap_or(0)
}
