//! Subject index of the in-memory repository: the sessions of each subject.

use tee_session_domain::{
    FoundRecord, IndexCursor, IndexEntry, IndexPage, IndexedSession, LastRevocation, Removal,
    RepositoryError, SessionId, SessionToken, Subject, SubjectIndex,
};

use super::{MemoryRepository, lock};

/// Maximum number of sessions that one call of `remove_older` removes.
const REMOVED_PER_CALL: usize = 1_000;

/// Subject index in memory. Each index entry is removed together with the record of its session, so
/// entries need no renewal.
impl SubjectIndex for MemoryRepository {
    async fn add(&self, entry: &IndexEntry) -> Result<LastRevocation, RepositoryError> {
        let session = self.0.stored(&entry.session);
        Ok(lock(&self.0.subjects).add(entry, &session, self.0.clock.now()))
    }

    async fn contains(
        &self,
        subject: &Subject,
        token: &SessionToken,
        last: LastRevocation,
    ) -> Result<bool, RepositoryError> {
        let subjects = lock(&self.0.subjects);
        Ok(subjects.contains(subject, SessionId::of(token), last))
    }

    fn renew(&self, _entry: IndexEntry, renewed: Box<dyn FnOnce() + Send>) {
        renewed();
    }

    fn remove_entry(&self, subject: &Subject, token: &SessionToken) {
        lock(&self.0.subjects).remove(subject, SessionId::of(token));
    }

    async fn list(
        &self,
        subject: &Subject,
        after: Option<IndexCursor>,
        limit: usize,
    ) -> Result<IndexPage, RepositoryError> {
        let (now, correction) = (self.0.clock.now(), self.0.wall_clock.correction());
        let entries = lock(&self.0.subjects).page(subject, after, limit);
        let is_full = entries.len() == limit;
        let next = entries.last().map(|(cursor, _)| *cursor);
        let sessions = entries.into_iter().filter_map(|(_, details)| {
            let remaining = self.0.shard(details.id, now).remaining(details.id, now)?;
            Some(IndexedSession {
                id: details.id,
                created_at: details.created_at.saturating_add(correction),
                absolute_end: details
                    .absolute_end
                    .map(|end| end.saturating_add(correction)),
                attributes: details.attributes,
                remaining: Some(remaining),
            })
        });
        Ok(IndexPage {
            sessions: sessions.collect(),
            next: next.filter(|_| is_full),
        })
    }

    async fn mark_revocation(&self, subject: &Subject) -> Result<LastRevocation, RepositoryError> {
        let mut subjects = lock(&self.0.subjects);
        Ok(subjects.mark_revocation(subject, self.0.clock.now()))
    }

    async fn remove_older(
        &self,
        subject: &Subject,
        revocation: LastRevocation,
    ) -> Result<Removal, RepositoryError> {
        let older = lock(&self.0.subjects).older_than(subject, revocation, REMOVED_PER_CALL);
        // If a session is rotated during this call, its new entry has a position below the
        // revocation. The next call finds that entry.
        let is_complete = older.is_empty();
        let mut sessions = 0;
        for id in older {
            sessions += usize::from(self.0.remove(id));
            lock(&self.0.subjects).remove(subject, id);
        }
        Ok(Removal {
            sessions,
            is_complete,
        })
    }

    async fn remove_by_id(&self, id: SessionId) -> Result<bool, RepositoryError> {
        Ok(self.0.remove(id))
    }

    async fn find_by_id(&self, id: SessionId) -> Result<Option<FoundRecord>, RepositoryError> {
        let now = self.0.clock.now();
        let remaining = self.0.shard(id, now).remaining(id, now);
        Ok(remaining.map(|remaining| FoundRecord {
            remaining: Some(remaining),
        }))
    }
}
