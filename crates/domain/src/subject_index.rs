//! Port (interface) for the subject index, which records the sessions of each subject.

use std::{fmt, future::Future, str::FromStr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{RepositoryError, Session, SessionAttributes, SessionId, SessionToken, Subject};

/// Index of the sessions of each subject. A store keeps the index in addition to the records of the
/// sessions.
///
/// The index orders the sessions of a subject by *position in the index*: a time on the store's
/// clock, in microseconds since the Unix epoch. If another session or revocation of the subject
/// already has this position or a later one, the next free position is used. A *revocation* also
/// has a position. A revocation ends every session with a lower position.
///
/// The [`SessionManager`](crate::SessionManager) follows this protocol, so that a revocation also
/// works if sessions of the subject are created or rotated at the same time:
///
/// - To create a session, the manager [`add`](Self::add)s an entry to the index, then stores the
///   record of the session, and then checks whether the index still [`contains`](Self::contains)
///   the entry.
/// - To revoke all sessions of a subject, the manager marks the revocation with
///   [`mark_revocation`](Self::mark_revocation), and then calls
///   [`remove_older`](Self::remove_older) until a call finds no session.
///
/// An entry in the index is only a hint: a session is live only if the store has a record of the
/// session. An index operation that finds an entry without a record may remove the entry.
pub trait SubjectIndex: Clone + Send + Sync + 'static {
    /// Adds the session of `entry` to the index, or renews the entry if the index already contains
    /// the session. Returns the position of the subject's last revocation. The entry expires after
    /// [`IndexEntry::kept_for`].
    ///
    /// The position of the session in the index depends on its predecessor
    /// ([`IndexEntry::succeeds`]). The predecessor of a rotated session is the session under its
    /// old token.
    ///
    /// - If the session has no predecessor, it gets a position after every other session and every
    ///   revocation of the subject.
    /// - If the predecessor has an entry, the session takes over the position of that entry. To
    ///   renew an entry, a caller names the session as its own predecessor.
    /// - If the predecessor has no entry, the session gets a position that is not after its
    ///   creation time.
    ///
    /// # Errors
    /// - `Unavailable`: it is unknown whether the session was added.
    /// - `Full`: the store has no room for the entry.
    fn add(
        &self,
        entry: &IndexEntry,
    ) -> impl Future<Output = Result<LastRevocation, RepositoryError>> + Send;

    /// Returns `true` if the session of `token` meets all of these conditions, and `false`
    /// otherwise:
    ///
    /// - The index contains the session.
    /// - The position of the session is not lower than that of the subject's last revocation.
    /// - The subject's last revocation is still `last`.
    ///
    /// The second condition detects a rotated session that a concurrent revocation missed. A
    /// rotated session takes over the position of its predecessor. If
    /// [`remove_older`](Self::remove_older) runs before the record of the rotated session is
    /// stored, the call does not remove this session. The position of the session is then lower
    /// than that of the revocation.
    ///
    /// # Errors
    /// `Unavailable`.
    fn contains(
        &self,
        subject: &Subject,
        token: &SessionToken,
        last: LastRevocation,
    ) -> impl Future<Output = Result<bool, RepositoryError>> + Send;

    /// Renews `entry` in the background. Calls `renewed` after the renewal has succeeded. If the
    /// renewal fails, `renewed` is never called.
    fn renew(&self, entry: IndexEntry, renewed: Box<dyn FnOnce() + Send>);

    /// Removes the index entry of the session of `token` in the background. If the removal fails,
    /// the entry expires by itself.
    fn remove_entry(&self, subject: &Subject, token: &SessionToken);

    /// Returns up to `limit` live sessions of the subject, oldest first. `limit` must be at least
    /// one. If `after` is a cursor, the page begins after the session that the cursor names.
    /// Otherwise, the page begins with the oldest session.
    ///
    /// # Errors
    /// `Unavailable`.
    fn list(
        &self,
        subject: &Subject,
        after: Option<IndexCursor>,
        limit: usize,
    ) -> impl Future<Output = Result<IndexPage, RepositoryError>> + Send;

    /// Marks all sessions of the subject that the index contains at this time as revoked. Their
    /// session records are removed later, by [`remove_older`](Self::remove_older). Returns
    /// the position of the revocation, which is higher than the positions of these sessions.
    ///
    /// # Errors
    /// - `Unavailable`: it is unknown whether the revocation was marked.
    /// - `Full`: the store has no room for the mark.
    fn mark_revocation(
        &self,
        subject: &Subject,
    ) -> impl Future<Output = Result<LastRevocation, RepositoryError>> + Send;

    /// Removes some of the subject's sessions with a position lower than the position of
    /// `revocation`. For each session, the record is removed before the index entry.
    ///
    /// The revocation is complete when a call finds no session with a lower position. If a session
    /// is rotated during a call, a later call finds the entry of the rotated session.
    ///
    /// # Errors
    /// `Unavailable`: some of the sessions may have been removed, and others not.
    fn remove_older(
        &self,
        subject: &Subject,
        revocation: LastRevocation,
    ) -> impl Future<Output = Result<Removal, RepositoryError>> + Send;

    /// Removes the session with the id `id`. Returns `true` if this call removed the session, and
    /// `false` if it found no such session.
    ///
    /// If the keys of a store contain the token, the store cannot find a record by the id alone.
    /// Such a store reads the key from the index entry, and does not find sessions without an index
    /// entry.
    ///
    /// # Errors
    /// `Unavailable`: it is unknown whether the session was removed.
    fn remove_by_id(
        &self,
        id: SessionId,
    ) -> impl Future<Output = Result<bool, RepositoryError>> + Send;

    /// Finds the record of the session with the id `id`, without reading the record and without
    /// renewing its TTL. Finds the same sessions as [`remove_by_id`](Self::remove_by_id). Returns
    /// `None` if there is no such session.
    ///
    /// # Errors
    /// `Unavailable`.
    fn find_by_id(
        &self,
        id: SessionId,
    ) -> impl Future<Output = Result<Option<FoundRecord>, RepositoryError>> + Send;
}

/// Record of a session that [`SubjectIndex::find_by_id`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundRecord {
    /// Remaining TTL of the record in the store. `None` if another program removed the expiry of
    /// the record.
    pub remaining: Option<Duration>,
}

/// An entry to be added to the subject index: a session with its subject and its token.
#[derive(Debug, Clone)]
pub struct IndexEntry {
    /// Subject that owns the session.
    pub subject: Subject,
    /// Token of the session.
    pub token: SessionToken,
    /// Data of the session. When the entry is added, the creation time and the attributes are
    /// copied from this data into the index.
    pub session: Session,
    /// Token of the index entry that this entry replaces, at the same position. After a rotation,
    /// this is the old token. To renew an entry, this is the session's own token. For a new
    /// session, this is `None`.
    pub succeeds: Option<SessionToken>,
    /// Lifetime of the index entry, which is longer than the TTL of the session's record.
    pub kept_for: Duration,
}

/// Position of a subject's last revocation in the subject index. Sessions at lower positions are
/// revoked. Positions are times on the store's clock, in microseconds since the Unix epoch. The
/// position is zero if no revocation is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastRevocation(pub u64);

/// A page of the list of a subject's live sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPage {
    /// Sessions on this page of the list, oldest first.
    pub sessions: Vec<IndexedSession>,
    /// Cursor of the next page, or `None` if this page is the last one. The next page may contain
    /// no sessions.
    pub next: Option<IndexCursor>,
}

/// A live session in a list: details from its index entry, and the remaining TTL of its stored
/// record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedSession {
    /// Id of the session.
    pub id: SessionId,
    /// Creation time of the session.
    pub created_at: OffsetDateTime,
    /// End of the absolute lifetime, if that end was fixed when the session was created.
    pub absolute_end: Option<OffsetDateTime>,
    /// Subject and label of the session.
    pub attributes: SessionAttributes,
    /// Remaining TTL of the session's record in the store. `None` if another program removed the
    /// expiry of the record.
    pub remaining: Option<Duration>,
}

/// Cursor in a list of sessions. To request the next page, clients send the text form (base64url)
/// of the cursor. The page then begins after the session that the cursor names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexCursor {
    /// Position in the index of the last session of the previous page: a time on the store's clock,
    /// in microseconds since the Unix epoch.
    pub position: u64,
    /// Id of the last session of the previous page.
    pub id: SessionId,
}

/// Length of a cursor in bytes: 8 bytes of position and 16 bytes of session id.
const CURSOR_LEN: usize = 24;

impl fmt::Display for IndexCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; CURSOR_LEN];
        bytes[..8].copy_from_slice(&self.position.to_be_bytes());
        bytes[8..].copy_from_slice(self.id.as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for IndexCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; CURSOR_LEN];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(CURSOR_LEN) => {}
            _ => return Err(InvalidCursor),
        }
        let (mut position, mut id) = ([0; 8], [0; 16]);
        position.copy_from_slice(&bytes[..8]);
        id.copy_from_slice(&bytes[8..]);
        Ok(Self {
            position: u64::from_be_bytes(position),
            id: SessionId::from_bytes(id),
        })
    }
}

/// Parse error: the text is not a cursor of a session list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a cursor must be the unchanged `next` value of the previous page")]
pub struct InvalidCursor;

/// Result of one call of [`SubjectIndex::remove_older`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Number of live sessions that the call removed.
    pub sessions: usize,
    /// `true` if no session with a position lower than the position of the revocation remains. In
    /// that case, the call need not be repeated.
    pub is_complete: bool,
}

/// Subject index of a repository that does not support subjects.
///
/// An adapter without support for subjects declares `type Subjects = NoSubjects`. Every index
/// operation that returns a result fails with `Unavailable`, so sessions with a subject are
/// rejected.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSubjects;

/// Error of [`NoSubjects`]: the repository does not support subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this repository does not support subjects")]
pub struct SubjectsNotKept;

impl SubjectIndex for NoSubjects {
    async fn add(&self, _entry: &IndexEntry) -> Result<LastRevocation, RepositoryError> {
        Err(RepositoryError::unavailable(SubjectsNotKept))
    }

    async fn contains(
        &self,
        _subject: &Subject,
        _token: &SessionToken,
        _last: LastRevocation,
    ) -> Result<bool, RepositoryError> {
        Err(RepositoryError::unavailable(SubjectsNotKept))
    }

    fn renew(&self, _entry: IndexEntry, _renewed: Box<dyn FnOnce() + Send>) {}

    fn remove_entry(&self, _subject: &Subject, _token: &SessionToken) {}

    async fn list(
        &self,
        _subject: &Subject,
        _after: Option<IndexCursor>,
        _limit: usize,
    ) -> Result<IndexPage, RepositoryError> {
        Err(RepositoryError::unavailable(SubjectsNotKept))
    }

    async fn mark_revocation(&self, _subject: &Subject) -> Result<LastRevocation, RepositoryError> {
        Err(RepositoryError::unavailable(SubjectsNotKept))
    }

    async fn remove_older(
        &self,
        _subject: &Subject,
        _revocation: LastRevocation,
    ) -> Result<Removal, RepositoryError> {
        Err(RepositoryError::unavailable(SubjectsNotKept))
    }

    async fn remove_by_id(&self, _id: SessionId) -> Result<bool, RepositoryError> {
        Err(RepositoryError::unavailable(SubjectsNotKept))
    }

    async fn find_by_id(&self, _id: SessionId) -> Result<Option<FoundRecord>, RepositoryError> {
        Err(RepositoryError::unavailable(SubjectsNotKept))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn page_cursor_is_parsed_back_from_its_text_form() {
        let id = SessionId::of(&SessionToken::generate());
        let cursor = IndexCursor {
            position: 1 << 52,
            id,
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[rstest]
    #[case::empty("")]
    #[case::too_short("AAAA")]
    #[case::too_long(&"A".repeat(36))]
    #[case::another_alphabet(&"+".repeat(32))]
    #[case::padded(&format!("{}=", "A".repeat(31)))]
    fn malformed_page_cursor_is_rejected(#[case] text: &str) {
        assert_eq!(text.parse::<IndexCursor>(), Err(InvalidCursor));
    }
}
