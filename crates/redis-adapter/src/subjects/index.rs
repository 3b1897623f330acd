//! The subject index of a [`RedisRepository`]. A subject is, for example, a user. Each subject has
//! its own index, and the index has one entry for each session of the subject.
//!
//! In a cluster, the index of a subject and the session records can be on different servers,
//! because they have different Redis keys. One command cannot access both. A call therefore reads
//! the index entries first. It then checks the record of each session with a separate command.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tee_session_domain::{
    ErrorChain, FoundRecord, IndexCursor, IndexEntry, IndexPage, IndexedSession, LastRevocation,
    Removal, RepositoryError, SessionId, SessionToken, Subject, SubjectIndex,
};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::scripts::{self, FoundEntry, NewEntry, Range};
use crate::{
    CorruptIndex, RedisRepository, StorageFormat,
    connection::Call,
    error::CallError,
    record::{IndexDetails, IndexKeys, Key, RecordLocation, pointer_key},
    repository::commands,
};

/// Timeout of a call that reads many index entries, such as listing or revoking the sessions of a
/// subject.
const SCAN_TIMEOUT: Duration = Duration::from_secs(2);

/// Time after which a call that lists sessions reads no further index entries, and returns the
/// sessions that it has found.
const MAX_SCAN_TIME: Duration = Duration::from_secs(1);

/// Maximum number of index entries that one command reads. The session records of these entries are
/// then checked concurrently.
const PAGE_SIZE: usize = 64;

/// Assumed maximum difference between the clock of an instance and the clock of Redis. The creation
/// time of a session comes from the clock of an instance. The position of its index entry comes
/// from the clock of Redis.
const CLOCK_MARGIN: time::Duration = time::Duration::seconds(2);

impl RedisRepository {
    /// Sends commands about the index of a subject by running `send`. If Redis replies with the
    /// error TRYAGAIN, because the hash slot of the index is moving to another server, runs `send`
    /// again, until `deadline` at the latest.
    async fn index_call<T, F>(
        &self,
        keys: &IndexKeys,
        command: &'static str,
        deadline: Instant,
        send: impl Fn(Call) -> F,
    ) -> Result<T, RepositoryError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let outcome = self
            .pool
            .call_with_keys(&keys.order, command, deadline, send)
            .await;
        outcome.map_err(|error| index_error(error, || keys.pattern()))
    }

    /// Returns the deadline of a command that is sent now as a part of a longer call: the current
    /// time plus the command timeout, but not later than `deadline`, the deadline of the whole
    /// call.
    fn deadline_until(&self, deadline: Instant) -> Instant {
        self.deadline().min(deadline)
    }

    /// Returns `true` if Redis may contain plain (unencrypted) session records of this service.
    fn may_hold_plain(&self) -> bool {
        self.format == StorageFormat::Plain || self.accept_plain
    }

    async fn add_entry(&self, entry: &IndexEntry) -> Result<LastRevocation, RepositoryError> {
        let id = SessionId::of(&entry.token);
        let plain = match self.format {
            StorageFormat::Sealed => None,
            StorageFormat::Plain => {
                Some(*RecordLocation::new(StorageFormat::Plain, &entry.token).key())
            }
        };
        let succeeds = entry.succeeds.as_ref().map(SessionId::of);
        let new = &NewEntry {
            id,
            details: IndexDetails::of(&entry.session, plain.as_ref()),
            kept_for: entry.kept_for,
            succeeds: succeeds.map(|id| (id, position_before(entry.session.created_at))),
        };
        if let Some(record) = &plain {
            let (pointer, kept_for) = (&pointer_key(id), entry.kept_for);
            let set_pointer = |call: Call| async move {
                commands::set_pointer(&call, pointer, record, kept_for).await
            };
            // The pointer and the entry can be on different servers. Each of the two commands has
            // the whole command timeout, so a slow first command leaves enough time for the second.
            let pointed = self.pool.call(pointer, "SET", self.deadline(), set_pointer);
            match pointed.await {
                // The memory of Redis is full, so the pointer cannot be renewed. The index entry is
                // renewed nevertheless. If the entry expired, a revocation of all sessions of the
                // subject would miss this session.
                Err(error) if error.has_code("OOM") && new.is_renewal() => {}
                pointed => pointed?,
            }
        }
        let keys = &IndexKeys::of(&entry.subject);
        let add = |call: Call| async move { scripts::add(&call, keys, new).await };
        self.index_call(keys, "EVAL", self.deadline(), add).await
    }

    async fn delete_entry(
        &self,
        keys: &IndexKeys,
        id: SessionId,
        deadline: Instant,
    ) -> Result<(), RepositoryError> {
        let remove = |call: Call| async move { scripts::remove(&call, keys, id).await };
        self.index_call(keys, "ZREM", deadline, remove).await?;
        if self.may_hold_plain() {
            self.delete_key(&pointer_key(id), deadline).await?;
        }
        Ok(())
    }

    async fn page(
        &self,
        keys: &IndexKeys,
        range: &Range,
        deadline: Instant,
    ) -> Result<Vec<FoundEntry>, RepositoryError> {
        let page = |call: Call| async move { scripts::page(&call, keys, range, PAGE_SIZE).await };
        let deadline = self.deadline_until(deadline);
        self.index_call(keys, "EVAL", deadline, page).await
    }

    /// Returns up to [`PAGE_SIZE`] entries after the cursor `after`, and `true` if the index
    /// contains no further entries. If `after` is `None`, begins with the first entry of the index.
    async fn page_after(
        &self,
        keys: &IndexKeys,
        after: Option<IndexCursor>,
        deadline: Instant,
    ) -> Result<(Vec<FoundEntry>, bool), RepositoryError> {
        let after = after.map(|IndexCursor { position, id }| (position, id.to_string()));
        let first = after.as_ref().map_or(0, |(position, _)| *position);
        let is_after = |entry: &FoundEntry| {
            after.as_ref().is_none_or(|(position, member)| {
                (entry.position, &entry.member) > (*position, member)
            })
        };
        let mut skip = 0;
        loop {
            let range = Range::From { first, skip };
            let mut entries = self.page(keys, &range, deadline).await?;
            let are_last = entries.len() < PAGE_SIZE;
            entries.retain(is_after);
            if are_last || !entries.is_empty() {
                return Ok((entries, are_last));
            }
            skip += PAGE_SIZE;
        }
    }

    /// Returns the remaining TTL of a record that is stored under one of `keys`. Returns `None` if
    /// the record does not exist.
    async fn remaining(
        &self,
        keys: &[Key],
        deadline: Instant,
    ) -> Result<Option<Remaining>, RepositoryError> {
        for key in keys {
            let load = |call: Call| async move { commands::remaining(&call, key).await };
            let deadline = self.deadline_until(deadline);
            if let Some(remaining) = self.pool.call(key, "PTTL", deadline, load).await? {
                return Ok(Some(Remaining(remaining)));
            }
        }
        Ok(None)
    }

    /// Deletes the session to which an index entry points. The session can be stored under one of
    /// several Redis keys (sealed or plain), so all of them are deleted. Returns `true` if the
    /// session was stored.
    async fn remove_record(
        &self,
        entry: &FoundEntry,
        deadline: Instant,
    ) -> Result<bool, RepositoryError> {
        let deadline = || self.deadline_until(deadline);
        let mut was_removed = false;
        for key in &record_keys(entry) {
            was_removed |= self.delete_key(key, deadline()).await?;
        }
        if let (Some(id), true) = (entry.id(), self.may_hold_plain()) {
            self.delete_key(&pointer_key(id), deadline()).await?;
        }
        Ok(was_removed)
    }

    async fn delete_key(&self, key: &Key, deadline: Instant) -> Result<bool, RepositoryError> {
        let delete = |call: Call| async move { commands::delete(&call, &[key.as_bytes()]).await };
        Ok(self.pool.call(key, "DEL", deadline, delete).await?)
    }

    /// Deletes the record of a session that may be plain, and its pointer, with one command, because
    /// a login that ends older sessions keeps only the time of one round trip for this. Returns
    /// `true` if there was a record. Returns `None`, and deletes nothing, in a cluster, or if Redis
    /// does not allow or does not know `EVAL`.
    async fn remove_with_one_command(
        &self,
        pointer: &Key,
        sealed: &Key,
        deadline: Instant,
    ) -> Result<Option<bool>, RepositoryError> {
        if self.pool.is_clustered() {
            return Ok(None);
        }
        let remove =
            |call: Call| async move { scripts::remove_with_pointer(&call, pointer, sealed).await };
        match self.pool.call(pointer, "EVAL", deadline, remove).await {
            Err(error) if error.is_misconfiguration() => Ok(None),
            Err(error) => Err(index_error(error, || pointer.text().to_owned())),
            Ok(removed) => Ok(Some(removed)),
        }
    }

    /// Loads the value of the Redis key `pointer`. The value is the Redis key of a plain
    /// (unencrypted) record. Returns `None` if `pointer` does not exist.
    async fn record_of_pointer(
        &self,
        pointer: &Key,
        deadline: Instant,
    ) -> Result<Option<Key>, RepositoryError> {
        let load = |call: Call| async move { commands::load_pointer(&call, pointer).await };
        let deadline = self.deadline_until(deadline);
        let loaded = self.pool.call(pointer, "GET", deadline, load).await;
        loaded.map_err(|error| index_error(error, || pointer.text().to_owned()))
    }
}

/// Remaining TTL of a record; `None` if the Redis key of the record has no expiry.
struct Remaining(Option<Duration>);

impl SubjectIndex for RedisRepository {
    async fn add(&self, entry: &IndexEntry) -> Result<LastRevocation, RepositoryError> {
        self.add_entry(entry).await
    }

    async fn contains(
        &self,
        subject: &Subject,
        token: &SessionToken,
        last: LastRevocation,
    ) -> Result<bool, RepositoryError> {
        let (keys, id) = (&IndexKeys::of(subject), SessionId::of(token));
        let contains = |call: Call| async move { scripts::contains(&call, keys, id, last).await };
        let deadline = self.deadline();
        self.index_call(keys, "ZSCORE", deadline, contains).await
    }

    fn renew(&self, entry: IndexEntry, renewed: Box<dyn FnOnce() + Send>) {
        let repository = self.clone();
        self.runtime.spawn(async move {
            match repository.add(&entry).await {
                Ok(_) => renewed(),
                Err(error) => {
                    let error = ErrorChain(&error);
                    tracing::debug!(%error, "Subject index entry not renewed");
                }
            }
        });
    }

    fn remove_entry(&self, subject: &Subject, token: &SessionToken) {
        let (keys, id) = (IndexKeys::of(subject), SessionId::of(token));
        let repository = self.clone();
        self.runtime.spawn(async move {
            let deadline = repository.deadline();
            if let Err(error) = repository.delete_entry(&keys, id, deadline).await {
                let error = ErrorChain(&error);
                tracing::debug!(%error, "Subject index entry not removed");
            }
        });
    }

    async fn list(
        &self,
        subject: &Subject,
        mut after: Option<IndexCursor>,
        limit: usize,
    ) -> Result<IndexPage, RepositoryError> {
        let started = Instant::now();
        let deadline = started + SCAN_TIMEOUT;
        let (keys, limit) = (&IndexKeys::of(subject), limit.max(1));
        let mut sessions = Vec::new();
        loop {
            let (entries, are_last) = self.page_after(keys, after, deadline).await?;
            let remaining = entries.iter().map(|entry| {
                let keys = record_keys(entry);
                async move { self.remaining(&keys, deadline).await }
            });
            let remaining = try_join_all(remaining).await?;
            let without = entries.iter().zip(&remaining);
            let without = without.filter(|(_, remaining)| remaining.is_none());
            let without: Vec<_> = without.map(|(entry, _)| entry.member.as_str()).collect();
            if !without.is_empty() {
                let without = &without;
                let remove =
                    |call: Call| async move { scripts::remove_stale(&call, keys, without).await };
                let deadline = self.deadline_until(deadline);
                self.index_call(keys, "EVAL", deadline, remove).await?;
            }
            for (entry, remaining) in entries.iter().zip(remaining) {
                if sessions.len() == limit {
                    let next = after;
                    return Ok(IndexPage { sessions, next });
                }
                after = entry.cursor().or(after);
                sessions.extend(remaining.and_then(|remaining| indexed(subject, entry, remaining)));
            }
            if are_last {
                let next = None;
                return Ok(IndexPage { sessions, next });
            }
            if sessions.len() == limit || started.elapsed() > MAX_SCAN_TIME {
                let next = after;
                return Ok(IndexPage { sessions, next });
            }
        }
    }

    async fn mark_revocation(&self, subject: &Subject) -> Result<LastRevocation, RepositoryError> {
        let keys = &IndexKeys::of(subject);
        let mark = |call: Call| async move { scripts::mark(&call, keys).await };
        let deadline = self.deadline();
        self.index_call(keys, "EVAL", deadline, mark).await
    }

    /// Removes sessions that are older than `revocation`: first their records, and then their index
    /// entries. If a record cannot be removed, the index entries stay, so that the next call finds
    /// the entries again.
    async fn remove_older(
        &self,
        subject: &Subject,
        revocation: LastRevocation,
    ) -> Result<Removal, RepositoryError> {
        let deadline = Instant::now() + SCAN_TIMEOUT;
        let keys = &IndexKeys::of(subject);
        let older = self
            .page(keys, &Range::Before(revocation), deadline)
            .await?;
        if older.is_empty() {
            return Ok(Removal {
                sessions: 0,
                is_complete: true,
            });
        }
        let removals = older
            .iter()
            .map(|entry| self.remove_record(entry, deadline));
        // `join_all` tries every removal, even if one of them fails.
        let removed: Result<Vec<_>, _> = join_all(removals).await.into_iter().collect();
        let sessions = removed?
            .into_iter()
            .filter(|was_removed| *was_removed)
            .count();
        let members: Vec<_> = older.iter().map(|entry| entry.member.as_str()).collect();
        let members = &members;
        let remove = |call: Call| async move {
            scripts::remove_older(&call, keys, revocation, members).await
        };
        let deadline = self.deadline_until(deadline);
        self.index_call(keys, "EVAL", deadline, remove).await?;
        // While the records were removed, a rotation may have added a session at the position of a
        // removed session. The caller therefore repeats this call until it finds no older session.
        Ok(Removal {
            sessions,
            is_complete: false,
        })
    }

    async fn remove_by_id(&self, id: SessionId) -> Result<bool, RepositoryError> {
        let deadline = Instant::now() + SCAN_TIMEOUT;
        let delete_deadline = || self.deadline_until(deadline);
        let (pointer, sealed) = (&pointer_key(id), &Key::named(id));
        let mut removed = false;
        if self.may_hold_plain() {
            let tried = self.remove_with_one_command(pointer, sealed, delete_deadline());
            if let Some(removed) = tried.await? {
                return Ok(removed);
            }
            if let Some(plain) = self.record_of_pointer(pointer, deadline).await? {
                removed = self.delete_key(&plain, delete_deadline()).await?;
                self.delete_key(pointer, delete_deadline()).await?;
            }
        }
        Ok(self.delete_key(sealed, delete_deadline()).await? || removed)
    }

    async fn find_by_id(&self, id: SessionId) -> Result<Option<FoundRecord>, RepositoryError> {
        let deadline = Instant::now() + SCAN_TIMEOUT;
        let plain = if self.may_hold_plain() {
            self.record_of_pointer(&pointer_key(id), deadline).await?
        } else {
            None
        };
        // The plain key is read first, because a record only moves from the plain key to the sealed
        // key.
        let keys: Vec<_> = plain.into_iter().chain([Key::named(id)]).collect();
        let found = self.remaining(&keys, deadline).await?;
        Ok(found.map(|Remaining(remaining)| FoundRecord { remaining }))
    }
}

/// Returns the Redis keys under which the record of an index entry may be stored. The key of the
/// plain record comes first. Records only move from the plain key to the sealed key, so a caller
/// that reads the keys in this order does not miss a record that moves in between.
fn record_keys(entry: &FoundEntry) -> Vec<Key> {
    let plain = entry.details.as_ref().and_then(IndexDetails::plain_key);
    let sealed = entry.id().map(Key::named);
    plain.into_iter().chain(sealed).collect()
}

fn indexed(
    subject: &Subject,
    entry: &FoundEntry,
    Remaining(remaining): Remaining,
) -> Option<IndexedSession> {
    let details = entry.details.as_ref()?;
    Some(IndexedSession {
        id: entry.id()?,
        created_at: details.created_at()?,
        absolute_end: details.absolute_end(),
        attributes: details.attributes(subject),
        remaining,
    })
}

/// Returns a position in the index (microseconds) that is lower than the position of every session
/// that is created after `created_at`. This is also true if the clock of this instance and the
/// clock of Redis differ by up to [`CLOCK_MARGIN`].
fn position_before(created_at: OffsetDateTime) -> u64 {
    let position = created_at - OffsetDateTime::UNIX_EPOCH - CLOCK_MARGIN;
    u64::try_from(position.whole_microseconds()).unwrap_or(0)
}

/// Converts the error of a call about the index under `keys`. If the content of the index caused
/// the error, returns [`RepositoryError::CorruptIndex`] with the names of the keys, so that an
/// operator can find the keys. Never returns [`RepositoryError::Corrupt`], because callers treat
/// that error as an invalid token.
fn index_error(error: CallError, keys: impl FnOnce() -> String) -> RepositoryError {
    let defect = if error.has_code("WRONGTYPE") {
        CorruptIndex::KeyType
    } else if error.is_corrupt() || error.has_code(scripts::CORRUPT) {
        CorruptIndex::Value
    } else {
        return error.into();
    };
    RepositoryError::corrupt_index(format!("{defect}: {}", keys()))
}
