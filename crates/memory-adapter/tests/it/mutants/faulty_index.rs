//! Subject index of the repository with a fault: a decorator of the correct index in memory.

use std::time::Duration;

use tee_session_domain::{
    FoundRecord, IndexCursor, IndexEntry, IndexPage, IndexedSession, LastRevocation, Removal,
    RepositoryError, SessionId, SessionToken, Subject, SubjectIndex,
};

use super::{fault::Fault, faulty_repository::FaultyStore};

impl FaultyStore {
    async fn is_listed(
        &self,
        subject: &Subject,
        token: &SessionToken,
    ) -> Result<bool, RepositoryError> {
        let page = self.correct.list(subject, None, usize::MAX).await?;
        let id = SessionId::of(token);
        Ok(page.sessions.iter().any(|session| session.id == id))
    }

    fn last_revocation(&self, subject: &Subject) -> LastRevocation {
        let state = self.state();
        LastRevocation(state.last_revocations.get(subject).copied().unwrap_or(0))
    }

    /// Returns the expired sessions of the subject. A correct list does not contain these sessions.
    /// A list with [`Fault::ListKeepsExpiredSessions`] contains them.
    async fn expired(&self, subject: &Subject) -> Result<Vec<IndexedSession>, RepositoryError> {
        let page = self.correct.list(subject, None, usize::MAX).await?;
        let live: Vec<_> = page.sessions.iter().map(|session| session.id).collect();
        let state = self.state();
        let inserted = state.inserted.iter();
        let expired = inserted.filter(|(id, (session, _))| {
            session.attributes.subject.as_ref() == Some(subject) && !live.contains(id)
        });
        let expired = expired.map(|(id, (session, _))| IndexedSession {
            id: *id,
            created_at: session.created_at,
            absolute_end: session.absolute_end,
            attributes: session.attributes.clone(),
            remaining: Some(Duration::from_secs(1)),
        });
        Ok(expired.collect())
    }
}

impl SubjectIndex for FaultyStore {
    async fn add(&self, entry: &IndexEntry) -> Result<LastRevocation, RepositoryError> {
        self.reach_store(entry.token.expose_secret()).await?;
        let mut entry = entry.clone();
        if self.has(Fault::SuccessorGetsNewPosition) {
            entry.succeeds = None;
        }
        self.correct.add(&entry).await
    }

    async fn contains(
        &self,
        subject: &Subject,
        token: &SessionToken,
        last: LastRevocation,
    ) -> Result<bool, RepositoryError> {
        self.reach_store(token.expose_secret()).await?;
        match self.fault {
            Some(Fault::ContainsIsAlwaysTrue) => Ok(true),
            Some(Fault::ContainsIgnoresPosition) => {
                Ok(self.is_listed(subject, token).await? && last == self.last_revocation(subject))
            }
            Some(Fault::ContainsIgnoresLastRevocation) => {
                let last = self.last_revocation(subject);
                self.correct.contains(subject, token, last).await
            }
            _ => self.correct.contains(subject, token, last).await,
        }
    }

    fn renew(&self, entry: IndexEntry, renewed: Box<dyn FnOnce() + Send>) {
        self.correct.renew(entry, renewed);
    }

    fn remove_entry(&self, subject: &Subject, token: &SessionToken) {
        self.correct.remove_entry(subject, token);
    }

    async fn list(
        &self,
        subject: &Subject,
        after: Option<IndexCursor>,
        limit: usize,
    ) -> Result<IndexPage, RepositoryError> {
        self.reach_store("").await?;
        let ignores_cursor = self.has(Fault::ListIgnoresCursor);
        let after = after.filter(|_| !ignores_cursor);
        let mut page = self.correct.list(subject, after, limit).await?;
        match self.fault {
            Some(Fault::ListIsNewestFirst) => page.sessions.reverse(),
            Some(Fault::ListEndsAfterOnePage) => page.next = None,
            Some(Fault::ListKeepsExpiredSessions) => {
                page.sessions.extend(self.expired(subject).await?);
            }
            _ => {}
        }
        Ok(page)
    }

    async fn mark_revocation(&self, subject: &Subject) -> Result<LastRevocation, RepositoryError> {
        self.reach_store("").await?;
        let revocation = self.correct.mark_revocation(subject).await?;
        let mut state = self.state();
        state.last_revocations.insert(subject.clone(), revocation.0);
        Ok(revocation)
    }

    async fn remove_older(
        &self,
        subject: &Subject,
        revocation: LastRevocation,
    ) -> Result<Removal, RepositoryError> {
        self.reach_store("").await?;
        if self.has(Fault::RemoveOlderRemovesNewer) {
            let end = LastRevocation(u64::MAX);
            return self.correct.remove_older(subject, end).await;
        }
        self.correct.remove_older(subject, revocation).await
    }

    async fn remove_by_id(&self, id: SessionId) -> Result<bool, RepositoryError> {
        self.reach_store("").await?;
        if self.has(Fault::RemoveByIdRemovesNothing) {
            return Ok(true);
        }
        self.note_removal(id);
        self.correct.remove_by_id(id).await
    }

    async fn find_by_id(&self, id: SessionId) -> Result<Option<FoundRecord>, RepositoryError> {
        self.reach_store("").await?;
        self.correct.find_by_id(id).await
    }
}
