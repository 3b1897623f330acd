//! The index of subjects: for each, which sessions there are and what was revoked last.
//!
//! An index and the records that it names stand in different places (of a cluster, at different
//! servers): it is asked for the entries, and then each record for itself.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tee_session_domain::{
    ErrorChain, IndexCursor, IndexEntry, IndexPage, IndexedSession, LastRevocation, Removal,
    RepositoryError, SessionId, SessionToken, Subject, SubjectIndex,
};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};

use super::{
    RedisRepository, commands,
    subject_scripts::{self, FoundEntry, NewEntry, Range},
};
use crate::{
    StorageFormat,
    connection::Call,
    error::CallError,
    record::{IndexDetails, IndexKeys, Key, Slot, pointer_key},
};

/// A call that looks through an index ends after so long.
const ADMINISTERED_WITHIN: Duration = Duration::from_secs(2);

/// It looks at no more entries after so long.
const LOOKED_FOR: Duration = Duration::from_secs(1);

/// So many entries are looked at together.
const LOOKED_AT: usize = 64;

/// How much further apart than that the creation of a session, by the clock of an instance, and its
/// entry, by that of Redis, never are.
const CLOCKS_APART: time::Duration = time::Duration::seconds(2);

/// While a slot moves, some of an index's keys may be there already and others not.
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

impl RedisRepository {
    /// Makes a call about a subject's index.
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
        loop {
            let outcome = self.pool.call(&keys.order, command, deadline, &send).await;
            let is_between = outcome
                .as_ref()
                .is_err_and(|error| error.has_code("TRYAGAIN"));
            if is_between && Instant::now() + BETWEEN_TRIES < deadline {
                sleep(BETWEEN_TRIES).await;
            } else {
                return outcome.map_err(|error| no_record(error.into()));
            }
        }
    }

    /// Returns the deadline of a call that begins now and is one of several, which end by `deadline`.
    fn deadline_until(&self, deadline: Instant) -> Instant {
        self.deadline().min(deadline)
    }

    fn may_hold_plain(&self) -> bool {
        self.format == StorageFormat::Plain || self.accept_plain
    }

    async fn enter_by(
        &self,
        entry: &IndexEntry,
        deadline: Instant,
    ) -> Result<LastRevocation, RepositoryError> {
        let id = SessionId::of(&entry.token);
        let plain = match self.format {
            StorageFormat::Sealed => None,
            StorageFormat::Plain => Some(*Slot::new(StorageFormat::Plain, &entry.token).key()),
        };
        let succeeds = entry.succeeds.as_ref().map(SessionId::of);
        let new = &NewEntry {
            id,
            details: IndexDetails::of(&entry.session, plain.as_ref()),
            kept_for: entry.kept_for,
            succeeds: succeeds.map(|id| (id, place_before(entry.session.created_at))),
        };
        if let Some(record) = &plain {
            let (pointer, kept_for) = (&pointer_key(id), entry.kept_for);
            let point =
                |call: Call| async move { commands::point(&call, pointer, record, kept_for).await };
            match self.pool.call(pointer, "SET", deadline, point).await {
                // The entry is what all sessions are revoked by: it is renewed all the same.
                Err(error) if error.has_code("OOM") && new.is_renewal() => {}
                pointed => pointed?,
            }
        }
        let keys = &IndexKeys::of(&entry.subject);
        let enter = |call: Call| async move { subject_scripts::enter(&call, keys, new).await };
        self.index_call(keys, "EVAL", deadline, enter).await
    }

    async fn leave_by(
        &self,
        keys: &IndexKeys,
        id: SessionId,
        deadline: Instant,
    ) -> Result<(), RepositoryError> {
        let leave = |call: Call| async move { subject_scripts::leave(&call, keys, id).await };
        self.index_call(keys, "ZREM", deadline, leave).await?;
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
        let page =
            |call: Call| async move { subject_scripts::page(&call, keys, range, LOOKED_AT).await };
        let deadline = self.deadline_until(deadline);
        self.index_call(keys, "EVAL", deadline, page).await
    }

    /// Some entries behind `after`, and whether they are the last.
    async fn page_behind(
        &self,
        keys: &IndexKeys,
        after: Option<IndexCursor>,
        deadline: Instant,
    ) -> Result<(Vec<FoundEntry>, bool), RepositoryError> {
        let after = after.map(|IndexCursor { place, id }| (place, id.to_string()));
        let first = after.as_ref().map_or(0, |(place, _)| *place);
        let is_behind = |entry: &FoundEntry| {
            after
                .as_ref()
                .is_none_or(|(place, member)| (entry.place, &entry.member) > (*place, member))
        };
        let mut left_out = 0;
        loop {
            let range = Range::From(first, left_out);
            let mut entries = self.page(keys, &range, deadline).await?;
            let are_last = entries.len() < LOOKED_AT;
            entries.retain(is_behind);
            if are_last || !entries.is_empty() {
                return Ok((entries, are_last));
            }
            left_out += LOOKED_AT;
        }
    }

    /// What is left of the life of an entry's record; `None` when there is no such record.
    async fn remaining(
        &self,
        entry: &FoundEntry,
        deadline: Instant,
    ) -> Result<Option<Remaining>, RepositoryError> {
        for key in &record_keys(entry) {
            let ask = |call: Call| async move { commands::remaining(&call, key).await };
            let deadline = self.deadline_until(deadline);
            if let Some(remaining) = self.pool.call(key, "PTTL", deadline, ask).await? {
                return Ok(Some(Remaining(remaining)));
            }
        }
        Ok(None)
    }

    /// Removes an entry's record, wherever it stands; whether there was one.
    async fn remove_record(
        &self,
        entry: &FoundEntry,
        deadline: Instant,
    ) -> Result<bool, RepositoryError> {
        let deadline = || self.deadline_until(deadline);
        let mut was_there = false;
        for key in &record_keys(entry) {
            was_there |= self.delete_key(key, deadline()).await?;
        }
        if let (Some(id), true) = (entry.id(), self.may_hold_plain()) {
            self.delete_key(&pointer_key(id), deadline()).await?;
        }
        Ok(was_there)
    }

    async fn delete_key(&self, key: &Key, deadline: Instant) -> Result<bool, RepositoryError> {
        let delete = |call: Call| async move { commands::delete(&call, &[key.as_bytes()]).await };
        Ok(self.pool.call(key, "DEL", deadline, delete).await?)
    }

    /// The key of the plain record that `pointer` names.
    async fn pointed_to(
        &self,
        pointer: &Key,
        deadline: Instant,
    ) -> Result<Option<Key>, RepositoryError> {
        let follow = |call: Call| async move { commands::follow(&call, pointer).await };
        let deadline = self.deadline_until(deadline);
        Ok(self.pool.call(pointer, "GET", deadline, follow).await?)
    }
}

struct Remaining(Option<Duration>);

impl SubjectIndex for RedisRepository {
    async fn enter(&self, entry: &IndexEntry) -> Result<LastRevocation, RepositoryError> {
        self.enter_by(entry, self.deadline()).await
    }

    async fn stands(
        &self,
        subject: &Subject,
        token: &SessionToken,
        last: LastRevocation,
    ) -> Result<bool, RepositoryError> {
        let (keys, id) = (&IndexKeys::of(subject), SessionId::of(token));
        let stands =
            |call: Call| async move { subject_scripts::stands(&call, keys, id, last).await };
        let deadline = self.deadline();
        self.index_call(keys, "ZSCORE", deadline, stands).await
    }

    fn renew(&self, entry: IndexEntry, renewed: Box<dyn FnOnce() + Send>) {
        let repository = self.clone();
        self.runtime.spawn(async move {
            match repository.enter(&entry).await {
                Ok(_) => renewed(),
                Err(error) => tell("Entry of a session not renewed yet", &error),
            }
        });
    }

    fn leave(&self, subject: &Subject, token: &SessionToken) {
        let (keys, id) = (IndexKeys::of(subject), SessionId::of(token));
        let repository = self.clone();
        self.runtime.spawn(async move {
            let deadline = repository.deadline();
            if let Err(error) = repository.leave_by(&keys, id, deadline).await {
                tell("Entry of a session not taken out", &error);
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
        let deadline = started + ADMINISTERED_WITHIN;
        let (keys, limit) = (&IndexKeys::of(subject), limit.max(1));
        let mut sessions = Vec::new();
        loop {
            let (entries, are_last) = self.page_behind(keys, after, deadline).await?;
            let remaining = entries.iter().map(|entry| self.remaining(entry, deadline));
            let remaining = try_join_all(remaining).await?;
            let without = entries.iter().zip(&remaining);
            let without = without.filter(|(_, remaining)| remaining.is_none());
            let without: Vec<_> = without.map(|(entry, _)| entry.member.as_str()).collect();
            if !without.is_empty() {
                let without = &without;
                let take_out = |call: Call| async move {
                    subject_scripts::take_out_stale(&call, keys, without).await
                };
                let deadline = self.deadline_until(deadline);
                self.index_call(keys, "EVAL", deadline, take_out).await?;
            }
            for (entry, remaining) in entries.iter().zip(remaining) {
                if sessions.len() == limit {
                    let next = after;
                    return Ok(IndexPage { sessions, next });
                }
                after = entry.cursor().or(after);
                sessions.extend(remaining.and_then(|remaining| indexed(entry, remaining)));
            }
            if are_last {
                let next = None;
                return Ok(IndexPage { sessions, next });
            }
            if sessions.len() == limit || started.elapsed() > LOOKED_FOR {
                let next = after;
                return Ok(IndexPage { sessions, next });
            }
        }
    }

    async fn mark_revocation(&self, subject: &Subject) -> Result<LastRevocation, RepositoryError> {
        let keys = &IndexKeys::of(subject);
        let mark = |call: Call| async move { subject_scripts::mark(&call, keys).await };
        let deadline = self.deadline();
        self.index_call(keys, "EVAL", deadline, mark).await
    }

    /// Records go before their entries do: if one cannot be removed, its entry is there for the next
    /// try.
    async fn remove_older(
        &self,
        subject: &Subject,
        revocation: LastRevocation,
    ) -> Result<Removal, RepositoryError> {
        let deadline = Instant::now() + ADMINISTERED_WITHIN;
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
        // All are tried, though one failed.
        let removed: Result<Vec<_>, _> = join_all(removals).await.into_iter().collect();
        let sessions = removed?.into_iter().filter(|was_there| *was_there).count();
        let members: Vec<_> = older.iter().map(|entry| entry.member.as_str()).collect();
        let members = &members;
        let take_out = |call: Call| async move {
            subject_scripts::take_out_older(&call, keys, revocation, members).await
        };
        let deadline = self.deadline_until(deadline);
        self.index_call(keys, "EVAL", deadline, take_out).await?;
        // A session may have taken the place of one of them meanwhile: who asks again finds none.
        Ok(Removal {
            sessions,
            is_complete: false,
        })
    }

    async fn remove_by_id(&self, id: SessionId) -> Result<bool, RepositoryError> {
        let deadline = Instant::now() + ADMINISTERED_WITHIN;
        let delete_by = || self.deadline_until(deadline);
        let mut removed = false;
        if self.may_hold_plain() {
            let pointer = pointer_key(id);
            if let Some(plain) = self.pointed_to(&pointer, deadline).await? {
                removed = self.delete_key(&plain, delete_by()).await?;
                self.delete_key(&pointer, delete_by()).await?;
            }
        }
        Ok(self.delete_key(&Key::named(id), delete_by()).await? || removed)
    }
}

/// Where an entry's record may stand: the plain place comes first, since records move on from there.
fn record_keys(entry: &FoundEntry) -> Vec<Key> {
    let plain = entry.details.as_ref().and_then(IndexDetails::plain_key);
    let sealed = entry.id().map(Key::named);
    plain.into_iter().chain(sealed).collect()
}

fn indexed(entry: &FoundEntry, Remaining(remaining): Remaining) -> Option<IndexedSession> {
    let details = entry.details.as_ref()?;
    Some(IndexedSession {
        id: entry.id()?,
        created_at: details.created_at()?,
        absolute_end: details.absolute_end(),
        label: details.label(),
        remaining,
    })
}

/// A place that no session has that was created later, by whatever clock.
fn place_before(created_at: OffsetDateTime) -> u64 {
    let place = created_at - OffsetDateTime::UNIX_EPOCH - CLOCKS_APART;
    u64::try_from(place.whole_microseconds()).unwrap_or(0)
}

/// What stands under an index's key and is none says nothing of the session.
fn no_record(error: RepositoryError) -> RepositoryError {
    match error {
        RepositoryError::Corrupt { source } => RepositoryError::Unavailable { source },
        error => error,
    }
}

fn tell(event: &'static str, error: &RepositoryError) {
    tracing::debug!(error = %ErrorChain(error), "{event}");
}
