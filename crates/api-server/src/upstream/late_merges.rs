//! Order of late merges. If the store fails when an answer arrives, the cookies of the answer are
//! merged later, in the order of the answers of the session.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
};

use tee_session_domain::{SessionId, SetCookieLines};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, SemaphorePermit};

type Updates = AsyncMutex<Vec<SetCookieLines>>;

/// Maximum number of pending late merges of the process. Each pending late merge holds the
/// `Set-Cookie` lines of an answer in memory.
const MAX_MERGES: usize = 1_024;

/// Maximum number of pending late merges of one session. Also the maximum number of completed late
/// merges that are remembered, so that the next late merge may replace their cookies.
const MAX_OF_SESSION: usize = 256;

static PLACES: Semaphore = Semaphore::const_new(MAX_MERGES);

/// Late merges of all workers, by session. The answers for one session may arrive at different
/// workers.
static SESSIONS: LazyLock<Mutex<HashMap<SessionId, Weak<Updates>>>> = LazyLock::new(Mutex::default);

fn sessions() -> MutexGuard<'static, HashMap<SessionId, Weak<Updates>>> {
    SESSIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Permit for one late merge of cookies into a session.
pub(super) struct Turn {
    session: SessionId,
    /// Updates that earlier late merges of the session have stored. A late merge holds the lock
    /// while it runs. The lock is granted in the order of the answers.
    pub(super) merged: Arc<Updates>,
    _place: SemaphorePermit<'static>,
}

impl Turn {
    /// Returns the permit for another late merge of `session`. Returns `None` if too many late
    /// merges of the process or of the session are pending.
    pub(super) fn of(session: SessionId) -> Option<Self> {
        let place = PLACES.try_acquire().ok()?;
        let mut sessions = sessions();
        let merged = sessions.get(&session).and_then(Weak::upgrade);
        if merged
            .as_ref()
            .is_some_and(|merged| Arc::strong_count(merged) > MAX_OF_SESSION)
        {
            return None;
        }
        let merged = merged.unwrap_or_else(|| {
            let merged = Arc::<Updates>::default();
            sessions.insert(session, Arc::downgrade(&merged));
            merged
        });
        Some(Self {
            session,
            merged,
            _place: place,
        })
    }
}

/// Adds `update` to `merged`, the updates that were merged late. Removes the oldest update if
/// `merged` is full.
pub(super) fn remember(merged: &mut Vec<SetCookieLines>, update: SetCookieLines) {
    if merged.len() >= MAX_OF_SESSION {
        merged.remove(0);
    }
    merged.push(update);
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut sessions = sessions();
        if Arc::strong_count(&self.merged) == 1 {
            sessions.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use tee_session_domain::SessionToken;

    use super::*;

    #[test]
    fn session_is_forgotten_when_its_last_late_merge_has_ended() {
        let session = SessionId::of(&SessionToken::generate());
        let turn = || Turn::of(session).unwrap();
        let (first, second) = (turn(), turn());
        assert!(Arc::ptr_eq(&first.merged, &second.merged));
        drop(first);
        assert!(sessions().contains_key(&session));
        drop(second);
        assert!(!sessions().contains_key(&session));
    }

    #[test]
    fn session_has_at_most_256_pending_late_merges() {
        let session = SessionId::of(&SessionToken::generate());
        let mut turns: Vec<_> = (0..MAX_OF_SESSION).map(|_| Turn::of(session)).collect();
        assert!(turns.iter().all(Option::is_some));
        assert!(Turn::of(session).is_none());
        turns.pop();
        assert!(Turn::of(session).is_some());
    }
}
