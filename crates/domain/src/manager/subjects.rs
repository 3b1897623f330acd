//! Operations of the session manager on the sessions of a subject: list, revocation and session
//! limit.

use std::sync::Arc;

use futures_util::future::join_all;
use time::OffsetDateTime;

use super::SessionManager;
use crate::{
    AtLimit, EndReason, FoundRecord, IndexCursor, IndexEntry, IndexedSession, LastRevocation,
    RepositoryError, Session, SessionAttributes, SessionError, SessionEvent, SessionId,
    SessionRepository, SessionToken, Subject, SubjectIndex, SubjectLimit, clock::to_signed,
};

/// Number of sessions per page when the manager lists all sessions of a subject, to enforce the
/// session limit or to find a session by its id.
const PAGE: usize = 100;

impl<R: SessionRepository> SessionManager<R> {
    /// Returns a page of the subject's live sessions, oldest first. The page contains up to `limit`
    /// sessions; `limit` must be at least one. If `after` is a cursor, the page begins after the
    /// session that the cursor names. A page that is not the last one may contain fewer than
    /// `limit` sessions.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    #[tracing::instrument(name = "list sessions", skip_all)]
    pub async fn list(
        &self,
        subject: &Subject,
        after: Option<IndexCursor>,
        limit: usize,
    ) -> Result<SessionPage, SessionError> {
        let page = self
            .repository
            .subjects()
            .list(subject, after, limit)
            .await?;
        let now = self.repository.now();
        let sessions = page.sessions.into_iter();
        Ok(SessionPage {
            sessions: sessions
                .filter_map(|session| self.listed(session, now))
                .collect(),
            next: page.next,
        })
    }

    /// Revokes all sessions of the subject and returns the number of sessions that it removed. Logs
    /// `Sessions of a subject revoked` (info, field `revoked`). It is safe to repeat the call.
    ///
    /// After the call has returned, no instance accepts the tokens of the revoked sessions. There
    /// is one exception: an instance with a near cache (copies of sessions in its memory) may
    /// accept the tokens until the invalidation arrives.
    ///
    /// If a session is created during the call, either the session is revoked, or it counts as
    /// created after the revocation.
    ///
    /// # Errors
    /// - [`RepositoryError::Unavailable`]: some sessions may be revoked and others not; try again.
    /// - [`RepositoryError::Full`]: the store has no room to mark the revocation.
    #[tracing::instrument(name = "revoke sessions", skip_all)]
    pub async fn revoke_all(&self, subject: &Subject) -> Result<usize, SessionError> {
        let index = self.repository.subjects();
        let revocation = index.mark_revocation(subject).await?;
        let mut revoked = 0;
        loop {
            let removal = index.remove_older(subject, revocation).await?;
            revoked += removal.sessions;
            (self.observer)(SessionEvent::Ended(EndReason::Revoked), removal.sessions);
            if removal.is_complete {
                break;
            }
        }
        tracing::info!(revoked, "Sessions of a subject revoked");
        Ok(revoked)
    }

    /// Revokes the session with the id `id`. Returns `true` if this call revoked the session, and
    /// `false` if it found no such session. Logs `Session revoked` (info, field `session_id`).
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`]: it is unknown whether the session was revoked; try again.
    #[tracing::instrument(name = "revoke session", skip_all)]
    pub async fn revoke(&self, id: SessionId) -> Result<bool, SessionError> {
        self.remove_by_id(id, EndReason::Revoked).await
    }

    /// Finds the session with the id `id`, without renewing its idle timeout. Finds the same
    /// sessions as [`revoke`](Self::revoke). Returns `None` if there is no such session.
    ///
    /// If `subject` is given, the session must belong to this subject, and the result contains the
    /// details of the session. If `subject` is `None`, the result contains only an expiry time.
    /// This time ignores the absolute lifetime, so the session may end earlier.
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`].
    #[tracing::instrument(name = "find session", level = "debug", skip_all)]
    pub async fn find(
        &self,
        id: SessionId,
        subject: Option<&Subject>,
    ) -> Result<Option<FoundSession>, SessionError> {
        if let Some(subject) = subject {
            let listed = self.find_in_list(id, subject).await?;
            return Ok(listed.map(|listed| FoundSession {
                expires_at: listed.expires_at,
                details: Some(listed),
            }));
        }
        let found = self.repository.subjects().find_by_id(id).await?;
        let now = self.repository.now();
        let idle_timeout = self.policy.idle_timeout();
        Ok(found.map(|FoundRecord { remaining }| {
            let remaining = remaining.unwrap_or(idle_timeout).min(idle_timeout);
            FoundSession {
                expires_at: now.saturating_add(to_signed(remaining)),
                details: None,
            }
        }))
    }

    async fn find_in_list(
        &self,
        id: SessionId,
        subject: &Subject,
    ) -> Result<Option<ListedSession>, SessionError> {
        let mut after = None;
        loop {
            let page = self.list(subject, after, PAGE).await?;
            let found = page.sessions.into_iter().find(|session| session.id == id);
            after = page.next;
            if found.is_some() || after.is_none() {
                return Ok(found);
            }
        }
    }

    async fn remove_by_id(&self, id: SessionId, reason: EndReason) -> Result<bool, SessionError> {
        let revoked = self.repository.subjects().remove_by_id(id).await?;
        if revoked {
            (self.observer)(SessionEvent::Ended(reason), 1);
            tracing::info!(session_id = %id, "Session revoked");
        }
        Ok(revoked)
    }

    fn listed(&self, session: IndexedSession, now: OffsetDateTime) -> Option<ListedSession> {
        let IndexedSession {
            id,
            created_at,
            absolute_end,
            attributes,
            remaining,
        } = session;
        let idle_timeout = self.policy.idle_timeout();
        let record_ttl = self.policy.record_ttl();
        let record_remaining = remaining.unwrap_or(record_ttl).min(record_ttl);
        let idle_remaining = record_remaining.min(idle_timeout);
        let remaining =
            self.policy
                .remaining_until(idle_remaining, (created_at, absolute_end), now)?;
        let last_seen = now.saturating_sub(to_signed(record_ttl.saturating_sub(record_remaining)));
        Some(ListedSession {
            id,
            created_at,
            last_seen: last_seen.max(created_at).min(now.max(created_at)),
            expires_at: now.saturating_add(to_signed(remaining)),
            attributes,
        })
    }

    /// Returns the sessions that must end because of the session limit of the subject. The session
    /// of `token` is the new session, which is already stored. With [`AtLimit::EvictOldest`],
    /// returns the oldest sessions above the limit. With [`AtLimit::Refuse`], returns an error if
    /// the session of `token` is above the limit.
    pub(super) async fn excess(
        &self,
        subject: &Subject,
        limit: SubjectLimit,
        token: &SessionToken,
    ) -> Result<Vec<SessionId>, SessionError> {
        let mut live = Vec::new();
        let mut after = None;
        loop {
            let page = self.list(subject, after, PAGE).await?;
            live.extend(page.sessions.iter().map(|session| session.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let own = SessionId::of(token);
        match limit.when_reached {
            AtLimit::Refuse => {
                let position = live.iter().position(|id| *id == own);
                if position.is_some_and(|position| position >= limit.max.get()) {
                    return Err(SessionError::TooManySessions);
                }
                Ok(Vec::new())
            }
            AtLimit::EvictOldest => {
                let excess = live.len().saturating_sub(limit.max.get());
                live.truncate(excess);
                live.retain(|id| *id != own);
                Ok(live)
            }
        }
    }

    /// Ends the sessions with the ids `excess`. They are the oldest sessions of a subject that has
    /// more sessions than its session limit allows.
    ///
    /// The sessions are ended concurrently. If the limit was lowered, creating one session can end
    /// many old sessions, and must still be fast.
    pub(super) async fn evict(&self, excess: Vec<SessionId>) -> Result<(), SessionError> {
        let evictions = excess.into_iter();
        let evictions = evictions.map(|id| self.remove_by_id(id, EndReason::Evicted));
        // `join_all` tries every eviction, even if one of them fails.
        let results = join_all(evictions).await;
        results.into_iter().try_for_each(|result| result.map(drop))
    }

    /// Adds the session to the subject index, and returns the position of the subject's last
    /// revocation. Returns `None` if the session has no subject. If the session was rotated,
    /// `succeeds` is the old token, and the new entry takes over the position of the old token's
    /// entry.
    pub(super) async fn add_to_index(
        &self,
        token: &SessionToken,
        session: &Session,
        succeeds: Option<&SessionToken>,
    ) -> Result<Option<LastRevocation>, RepositoryError> {
        let Some(entry) = self.index_entry(token, session, succeeds) else {
            return Ok(None);
        };
        let last_revocation = self.repository.subjects().add(&entry).await?;
        self.recent_renewals.note(token, self.repository.now());
        Ok(Some(last_revocation))
    }

    /// Returns `true` if the subject index still contains the session and the subject had no
    /// revocation after `last_revocation`. Also returns `true` if the session has no subject.
    pub(super) async fn is_in_index(
        &self,
        token: &SessionToken,
        session: &Session,
        last_revocation: Option<LastRevocation>,
    ) -> Result<bool, RepositoryError> {
        match (&session.attributes.subject, last_revocation) {
            (Some(subject), Some(last_revocation)) => {
                let index = self.repository.subjects();
                index.contains(subject, token, last_revocation).await
            }
            _ => Ok(true),
        }
    }

    pub(super) fn remove_from_index(&self, token: &SessionToken, session: &Session) {
        if let Some(subject) = &session.attributes.subject {
            self.repository.subjects().remove_entry(subject, token);
        }
    }

    /// Renews the session's subject index entry in the background, if the renewal is due. The entry
    /// therefore does not expire before the session's record.
    pub(super) fn renew_entry(&self, token: &SessionToken, session: &Session, now: OffsetDateTime) {
        if session.attributes.subject.is_none() || !self.recent_renewals.is_due(token, now) {
            return;
        }
        if let Some(entry) = self.index_entry(token, session, Some(token)) {
            let (renewals, token) = (Arc::clone(&self.recent_renewals), token.clone());
            let renewed = Box::new(move || renewals.note(&token, now));
            self.repository.subjects().renew(entry, renewed);
        }
    }

    fn index_entry(
        &self,
        token: &SessionToken,
        session: &Session,
        succeeds: Option<&SessionToken>,
    ) -> Option<IndexEntry> {
        Some(IndexEntry {
            subject: session.attributes.subject.clone()?,
            token: token.clone(),
            session: session.clone(),
            succeeds: succeeds.cloned(),
            kept_for: self.policy.index_entry_ttl(),
        })
    }
}

/// A page of the list of a subject's live sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPage {
    /// Sessions on this page of the list, oldest first.
    pub sessions: Vec<ListedSession>,
    /// Cursor of the next page. `None` if this page is the last one. If there is a cursor, the next
    /// page may still contain no sessions.
    pub next: Option<IndexCursor>,
}

/// A session that [`SessionManager::find`] found by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSession {
    /// Expiry time of the session, on the store's clock. An access before then can extend it.
    pub expires_at: OffsetDateTime,
    /// Details of the session. `None` if the caller did not name the subject of the session.
    pub details: Option<ListedSession>,
}

/// A session in a list, for clients that manage the sessions of a subject. Token and cookies are
/// left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    /// Id of the session.
    pub id: SessionId,
    /// Creation time of the session.
    pub created_at: OffsetDateTime,
    /// Time of the last TTL renewal (touch). With a touch interval, the last access may be later by
    /// up to one interval.
    pub last_seen: OffsetDateTime,
    /// Expiry time of the session, on the store's clock. An access before then can extend it.
    pub expires_at: OffsetDateTime,
    /// Subject and label of the session.
    pub attributes: SessionAttributes,
}
