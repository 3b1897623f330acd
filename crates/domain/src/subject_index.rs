//! The port for subjects: whose sessions there are.

use std::{fmt, future::Future, str::FromStr, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{Label, RepositoryError, Session, SessionId, SessionToken, Subject};

/// Knows which sessions a subject has, beside the repository that keeps them.
///
/// An index orders a subject's sessions by their *place*: a number that grows, as the store's clock
/// does (microseconds). A *revocation* is a place too: it ends every session whose place is lower.
/// The [`SessionManager`](crate::SessionManager) builds on these facts that no session outlives a
/// revocation, whatever happens at the same moment:
///
/// - A session is [`enter`](Self::enter)ed first, its record is stored then, and then it is asked
///   whether the entry still [`stands`](Self::stands).
/// - Who revokes [`mark`](Self::mark_revocation)s that first, and then
///   [`remove`](Self::remove_older)s older sessions until none is found.
///
/// An entry is a hint: whether the session lives only its record tells. Entries whose records have
/// gone are taken out on the way.
pub trait SubjectIndex: Clone + Send + Sync + 'static {
    /// Enters a session, or renews its entry, for as long as the entry says. A session that
    /// succeeds one with an entry (itself, when the entry is renewed) takes its place; if that one
    /// has none, a place from before the session's creation; and one that succeeds none a place
    /// after every other and after every revocation.
    ///
    /// # Errors
    /// `Unavailable` (it may or may not have been entered) or `Full`.
    fn enter(
        &self,
        entry: &IndexEntry,
    ) -> impl Future<Output = Result<LastRevocation, RepositoryError>> + Send;

    /// Whether the session is entered, in a place that is not lower than that of the last revocation,
    /// and nothing was revoked since `last`. A successor may be lower: it was entered while its
    /// predecessor was being revoked, and whoever does that may have looked for its record already.
    ///
    /// # Errors
    /// `Unavailable`.
    fn stands(
        &self,
        subject: &Subject,
        token: &SessionToken,
        last: LastRevocation,
    ) -> impl Future<Output = Result<bool, RepositoryError>> + Send;

    /// Renews an entry without keeping anybody waiting; `renewed` is called when that is done, and
    /// never if it fails.
    fn renew(&self, entry: IndexEntry, renewed: Box<dyn FnOnce() + Send>);

    /// Takes a session out without keeping anybody waiting. If that fails, its entry ends by itself.
    fn leave(&self, subject: &Subject, token: &SessionToken);

    /// Up to `limit` (at least one) of the subject's live sessions, oldest first, from `after` on.
    ///
    /// # Errors
    /// `Unavailable`.
    fn list(
        &self,
        subject: &Subject,
        after: Option<IndexCursor>,
        limit: usize,
    ) -> impl Future<Output = Result<IndexPage, RepositoryError>> + Send;

    /// Revokes every session that has a place now, and tells the place of that.
    ///
    /// # Errors
    /// `Unavailable` (it may or may not have been marked) or `Full`.
    fn mark_revocation(
        &self,
        subject: &Subject,
    ) -> impl Future<Output = Result<LastRevocation, RepositoryError>> + Send;

    /// Removes some sessions, records before entries, whose place is lower than that of `revocation`.
    /// It is complete when none was found: one that is rotated meanwhile is entered anew.
    ///
    /// # Errors
    /// `Unavailable`: some may be gone, and others not.
    fn remove_older(
        &self,
        subject: &Subject,
        revocation: LastRevocation,
    ) -> impl Future<Output = Result<Removal, RepositoryError>> + Send;

    /// Removes the session of this id. `true` when this call removed it. A store whose records are
    /// named by the token finds only sessions that were entered.
    ///
    /// # Errors
    /// `Unavailable`: the session may or may not be gone.
    fn remove_by_id(
        &self,
        id: SessionId,
    ) -> impl Future<Output = Result<bool, RepositoryError>> + Send;
}

/// A session to be entered.
#[derive(Debug, Clone)]
pub struct IndexEntry {
    /// Whose it is.
    pub subject: Subject,
    /// What opens it.
    pub token: SessionToken,
    /// The session.
    pub session: Session,
    /// The session whose place it takes.
    pub succeeds: Option<SessionToken>,
    /// For how long the entry is kept: longer than any record of the session that is stored now.
    pub kept_for: Duration,
}

/// The place of the latest revocation of a subject's sessions that an index knows of; zero if there
/// was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LastRevocation(pub u64);

/// Sessions of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPage {
    /// Oldest first.
    pub sessions: Vec<IndexedSession>,
    /// Where the next page begins, if there may be one.
    pub next: Option<IndexCursor>,
}

/// What an index, and the remaining life of a record, tell of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedSession {
    /// Its id.
    pub id: SessionId,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When it ends at the latest, if that was fixed.
    pub absolute_end: Option<OffsetDateTime>,
    /// What it is called.
    pub label: Option<Label>,
    /// How long the store will keep it; `None` when somebody took its expiry away.
    pub remaining: Option<Duration>,
}

/// Where a page of a subject's sessions begins: behind this session. Its text, in base64url, is for
/// whoever asks for the next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexCursor {
    /// The session's place.
    pub place: u64,
    /// The session.
    pub id: SessionId,
}

/// Bytes of a cursor.
const CURSOR_LEN: usize = 24;

impl fmt::Display for IndexCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; CURSOR_LEN];
        bytes[..8].copy_from_slice(&self.place.to_be_bytes());
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
        let (mut place, mut id) = ([0; 8], [0; 16]);
        place.copy_from_slice(&bytes[..8]);
        id.copy_from_slice(&bytes[8..]);
        Ok(Self {
            place: u64::from_be_bytes(place),
            id: SessionId::from_bytes(id),
        })
    }
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a cursor is what the last page said, as it said it")]
pub struct InvalidCursor;

/// What [`SubjectIndex::remove_older`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// So many live sessions were removed.
    pub sessions: usize,
    /// Nothing older was found.
    pub is_complete: bool,
}

/// The index of a repository that keeps no subjects: sessions of a subject are refused, and there
/// are none to list or to revoke.
///
/// For adapters that have no use for subjects: `type Subjects = NoSubjects`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSubjects;

/// The repository keeps no subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this repository keeps no subjects")]
pub struct SubjectsNotKept;

impl SubjectIndex for NoSubjects {
    async fn enter(&self, _entry: &IndexEntry) -> Result<LastRevocation, RepositoryError> {
        Err(RepositoryError::unavailable(SubjectsNotKept))
    }

    async fn stands(
        &self,
        _subject: &Subject,
        _token: &SessionToken,
        _last: LastRevocation,
    ) -> Result<bool, RepositoryError> {
        Err(RepositoryError::unavailable(SubjectsNotKept))
    }

    fn renew(&self, _entry: IndexEntry, _renewed: Box<dyn FnOnce() + Send>) {}

    fn leave(&self, _subject: &Subject, _token: &SessionToken) {}

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
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_cursor_is_read_back_from_its_text() {
        let id = SessionId::of(&SessionToken::generate());
        let cursor = IndexCursor { place: 1 << 52, id };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[rstest]
    #[case::empty("")]
    #[case::too_short("AAAA")]
    #[case::too_long(&"A".repeat(36))]
    #[case::another_alphabet(&"+".repeat(32))]
    #[case::padded(&format!("{}=", "A".repeat(31)))]
    fn what_is_no_cursor_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<IndexCursor>(), Err(InvalidCursor));
    }
}
