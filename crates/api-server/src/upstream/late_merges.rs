//! Order of the merges that come late, because the store did not keep the cookies of an answer.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
};

use tee_session_domain::{SessionId, SetCookieLines};
use tokio::sync::Mutex as AsyncMutex;

type Updates = AsyncMutex<Vec<SetCookieLines>>;

/// The late merges of all workers. Answers for one session may arrive at different workers.
static SESSIONS: LazyLock<Mutex<HashMap<SessionId, Weak<Updates>>>> = LazyLock::new(Mutex::default);

fn sessions() -> MutexGuard<'static, HashMap<SessionId, Weak<Updates>>> {
    SESSIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Turn of a late merge of a session.
pub(super) struct Turn {
    session: SessionId,
    /// Updates of the session that were merged late. The lock passes from one late merge to the next
    /// in the order of the answers.
    pub(super) merged: Arc<Updates>,
}

impl Turn {
    pub(super) fn of(session: SessionId) -> Self {
        let mut sessions = sessions();
        let merged = sessions.get(&session).and_then(Weak::upgrade);
        let merged = merged.unwrap_or_else(|| {
            let merged = Arc::<Updates>::default();
            sessions.insert(session, Arc::downgrade(&merged));
            merged
        });
        Self { session, merged }
    }
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
        let (first, second) = (Turn::of(session), Turn::of(session));
        assert!(Arc::ptr_eq(&first.merged, &second.merged));
        drop(first);
        assert!(sessions().contains_key(&session));
        drop(second);
        assert!(!sessions().contains_key(&session));
    }
}
