//! Order of the merges that come late, because the store did not keep the cookies of an answer.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use tee_session_domain::{SessionId, SetCookieLines};
use tokio::sync::Mutex as AsyncMutex;

/// Updates of a session that were merged late. The lock passes from one late merge of the session
/// to the next in the order of the answers.
pub(super) type Turn = AsyncMutex<Vec<SetCookieLines>>;

/// The late merges of all workers. Answers for one session may arrive at different workers.
static TURNS: LazyLock<Mutex<HashMap<SessionId, Weak<Turn>>>> = LazyLock::new(Mutex::default);

/// Returns the turn of a session. It is forgotten when the last late merge has ended.
pub(super) fn turn_of(session: SessionId) -> Arc<Turn> {
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    if let Some(turn) = turns.get(&session).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Arc::<Turn>::default();
    turns.insert(session, Arc::downgrade(&turn));
    turn
}
