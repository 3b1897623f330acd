//! The sessions of a subject.

use std::sync::Arc;

use time::OffsetDateTime;

use super::SessionManager;
use crate::{
    EndReason, IndexCursor, IndexEntry, IndexedSession, Label, LastRevocation, RepositoryError,
    Session, SessionError, SessionEvent, SessionId, SessionRepository, SessionToken, Subject,
    SubjectIndex, SubjectLimit, WhenReached, policy::to_signed,
};

/// Entries that are looked at together where all of a subject are.
const PAGE: usize = 100;

impl<R: SessionRepository> SessionManager<R> {
    /// A page of the subject's live sessions, oldest first: up to `limit` (at least one), from
    /// `after` on. A page that is not the last may hold fewer than `limit`.
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

    /// Revokes all sessions of the subject and tells how many. When this returns, none of them opens
    /// anything on any instance; one that is created at the same moment is either revoked, or wholly
    /// new. (From copies that are kept near they are answered for as long as those may be.) It may be
    /// asked again. Logs `Sessions of a subject revoked` (info, `revoked`).
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`]: some may be revoked and others not, ask again; or
    /// [`RepositoryError::Full`].
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

    /// Revokes the session of this id; `false` when there was none. Logs `Session revoked` (info,
    /// `session_id`).
    ///
    /// # Errors
    /// [`RepositoryError::Unavailable`]: it may or may not be gone, ask again.
    #[tracing::instrument(name = "revoke session", skip_all)]
    pub async fn revoke(&self, id: SessionId) -> Result<bool, SessionError> {
        self.end_by_id(id, EndReason::Revoked).await
    }

    async fn end_by_id(&self, id: SessionId, reason: EndReason) -> Result<bool, SessionError> {
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
            label,
            remaining,
        } = session;
        let idle_timeout = self.policy.idle_timeout();
        let stored_for = self.policy.stored_for();
        let stored = remaining.unwrap_or(stored_for).min(stored_for);
        let idle_remaining = stored.min(idle_timeout);
        let remaining =
            self.policy
                .remaining_until(idle_remaining, (created_at, absolute_end), now)?;
        let last_seen = now.saturating_sub(to_signed(stored_for.saturating_sub(stored)));
        Some(ListedSession {
            id,
            created_at,
            last_seen: last_seen.max(created_at).min(now.max(created_at)),
            expires_at: now.saturating_add(to_signed(remaining)),
            label,
        })
    }

    /// Makes room among the subject's sessions for the new one; an error when there is none.
    pub(super) async fn keep_to_limit(
        &self,
        subject: &Subject,
        limit: SubjectLimit,
        token: &SessionToken,
    ) -> Result<(), SessionError> {
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
            WhenReached::Refuse => {
                let place = live.iter().position(|id| *id == own);
                if place.is_some_and(|place| place >= limit.max.get()) {
                    return Err(SessionError::TooManySessions);
                }
            }
            WhenReached::EvictOldest => {
                let excess = live.len().saturating_sub(limit.max.get());
                for id in live.into_iter().take(excess).filter(|id| *id != own) {
                    self.end_by_id(id, EndReason::Evicted).await?;
                }
            }
        }
        Ok(())
    }

    /// Enters the session, if it has a subject, in the place of the one that it succeeds.
    pub(super) async fn enter_index(
        &self,
        token: &SessionToken,
        session: &Session,
        succeeds: Option<&SessionToken>,
    ) -> Result<Option<LastRevocation>, RepositoryError> {
        let Some(entry) = self.entry(token, session, succeeds) else {
            return Ok(None);
        };
        let entered = self.repository.subjects().enter(&entry).await?;
        self.recent_renewals.note(token, self.repository.now());
        Ok(Some(entered))
    }

    /// Whether the session's entry is as it was `entered`; it is, if it has no subject.
    pub(super) async fn stands_in_index(
        &self,
        token: &SessionToken,
        session: &Session,
        entered: Option<LastRevocation>,
    ) -> Result<bool, RepositoryError> {
        match (&session.subject, entered) {
            (Some(subject), Some(entered)) => {
                let index = self.repository.subjects();
                index.stands(subject, token, entered).await
            }
            _ => Ok(true),
        }
    }

    pub(super) fn leave_index(&self, token: &SessionToken, session: &Session) {
        if let Some(subject) = &session.subject {
            self.repository.subjects().leave(subject, token);
        }
    }

    /// Keeps the session's entry from ending before its record does, off the way of the access.
    pub(super) fn renew_entry(&self, token: &SessionToken, session: &Session, now: OffsetDateTime) {
        if session.subject.is_none() || !self.recent_renewals.is_due(token, now) {
            return;
        }
        if let Some(entry) = self.entry(token, session, Some(token)) {
            let (renewals, token) = (Arc::clone(&self.recent_renewals), token.clone());
            let renewed = Box::new(move || renewals.note(&token, now));
            self.repository.subjects().renew(entry, renewed);
        }
    }

    fn entry(
        &self,
        token: &SessionToken,
        session: &Session,
        succeeds: Option<&SessionToken>,
    ) -> Option<IndexEntry> {
        Some(IndexEntry {
            subject: session.subject.clone()?,
            token: token.clone(),
            session: session.clone(),
            succeeds: succeeds.cloned(),
            kept_for: self.policy.entry_kept_for(),
        })
    }
}

/// Live sessions of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPage {
    /// Oldest first.
    pub sessions: Vec<ListedSession>,
    /// Where the next page begins, if there may be one.
    pub next: Option<IndexCursor>,
}

/// What is shown of a session to who may manage it: no token, no cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    /// Its id.
    pub id: SessionId,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When it was last slid; with a touch interval, it may have been accessed so much later.
    pub last_seen: OffsetDateTime,
    /// When it ends if nobody asks for it again.
    pub expires_at: OffsetDateTime,
    /// What it is called.
    pub label: Option<Label>,
}
