//! Single-flight reads: concurrent look-ups of one session share one read of the store.

use std::{
    collections::HashMap,
    hash::BuildHasherDefault,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tee_session_domain::{Session, TokenHash};
use tokio::sync::watch;

use crate::{
    change_counters::ChangeSnapshot, invalidation_channel::Moment, token_hasher::TokenHasher,
};

/// Maximum age of a pending read that another request may join.
///
/// If the pending read touches the session (renews its TTL), a joining request does not touch the
/// session again. The touch may therefore be up to 250 ms older than that request. The session
/// still does not end early: with a touch interval, the TTL of the record is the sum of idle
/// timeout and touch interval, plus one second.
const JOIN_WINDOW: Duration = Duration::from_millis(250);

/// A request to read a session, with the state of the cache before the read.
#[derive(Debug, Clone)]
pub(crate) struct ReadRequest {
    /// Hash of the session's token.
    pub(crate) hash: TokenHash,
    /// TTL that the read sets if it also touches the session. `None` if the read does not touch the
    /// session.
    pub(crate) ttl: Option<Duration>,
    /// Number of the epoch before the read. A new epoch begins when the invalidation feed is lost
    /// or moves to another store server.
    pub(crate) epoch: u64,
    /// Snapshot of the change counters of the session's records before the read.
    pub(crate) snapshot: ChangeSnapshot,
    /// Time at which the request was made, before the session is read.
    pub(crate) now: Moment,
}

/// Table of all pending reads, by the hash of the session's token.
#[derive(Default)]
pub(crate) struct SingleFlight {
    pending: Mutex<HashMap<TokenHash, PendingRead, BuildHasherDefault<TokenHasher>>>,
}

struct PendingRead {
    request: ReadRequest,
    result: watch::Receiver<Option<ReadResult>>,
}

/// Result of a read of the store: the session, or `None` if there is no such session.
type ReadResult = Option<Session>;

/// Role of a request in a single-flight read: leader or follower.
pub(crate) enum Role<'a> {
    /// The request reads the session from the store, for itself and for all followers.
    Leader(Leader<'a>),
    /// The request waits for the result of another request's read.
    Follower(Follower),
}

impl SingleFlight {
    /// Joins the pending read of the same session as a follower, or starts a new read as its
    /// leader.
    ///
    /// A read may also renew the TTL of the session. A request joins a pending read only if the
    /// read began recently enough and sets at least the TTL that the request would set. In
    /// addition, no change of the session may have been reported since the read began.
    pub(crate) fn join_or_lead(&self, request: ReadRequest) -> Role<'_> {
        let mut pending = self.lock();
        if let Some(read) = pending.get(&request.hash)
            && read.satisfies(&request)
        {
            return Role::Follower(Follower(read.result.clone()));
        }
        let (sender, result) = watch::channel(None);
        let hash = request.hash;
        pending.insert(hash, PendingRead { request, result });
        Role::Leader(Leader {
            single_flight: self,
            hash,
            result: sender,
        })
    }

    /// Prevents further requests from joining the pending read of a session.
    ///
    /// The cache calls this method after this process has changed the session, because the pending
    /// read may have begun before the change.
    pub(crate) fn forget(&self, hash: TokenHash) {
        self.lock().remove(&hash);
    }

    fn lock(
        &self,
    ) -> MutexGuard<'_, HashMap<TokenHash, PendingRead, BuildHasherDefault<TokenHasher>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingRead {
    fn satisfies(&self, request: &ReadRequest) -> bool {
        self.request.epoch == request.epoch
            && self.request.snapshot == request.snapshot
            && self.request.ttl >= request.ttl
            && request.now < self.request.now.after(JOIN_WINDOW)
    }
}

/// The leader of a single-flight read, which reads the session for all followers.
///
/// If the leader is dropped before it calls [`complete`](Self::complete), its followers get no
/// result and must read the session themselves.
pub(crate) struct Leader<'a> {
    single_flight: &'a SingleFlight,
    hash: TokenHash,
    result: watch::Sender<Option<ReadResult>>,
}

impl Leader<'_> {
    /// Sends the result of the read to all followers.
    pub(crate) fn complete(self, session: Option<Session>) {
        self.result.send_replace(Some(session));
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut pending = self.single_flight.lock();
        // A newer leader may have replaced this read in the table. In that case, the newer read
        // must stay in the table.
        let is_own = pending
            .get(&self.hash)
            .is_some_and(|read| read.result.same_channel(&self.result.subscribe()));
        if is_own {
            pending.remove(&self.hash);
        }
    }
}

/// A follower of a single-flight read, which waits for the result of the leader.
pub(crate) struct Follower(watch::Receiver<Option<ReadResult>>);

impl Follower {
    /// Waits for the result of the leader's read. Returns `None` if the leader failed or was
    /// cancelled.
    pub(crate) async fn result(mut self) -> Option<ReadResult> {
        let result = self.0.wait_for(Option::is_some).await.ok()?;
        result.clone()
    }
}
