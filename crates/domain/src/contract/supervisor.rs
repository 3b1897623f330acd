//! Supervision of the calls of a repository under test: varied order of concurrent calls, time
//! limit, and errors without secrets.

use std::{
    collections::HashSet,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures_timer::Delay;
use futures_util::future::{Either, select};

use super::secrets::assert_contains_no_secret;
use crate::{RepositoryError, Revision, Session, SessionToken};

/// Maximum number of times that a call yields to other tasks before it begins, and again before it
/// returns.
const MAX_YIELDS: u64 = 7;

/// Minimum length of a cookie value that counts as a secret. An error text can contain a shorter
/// text by chance.
const SECRET_LEN: usize = 8;

/// Runs the calls to the repository under test: varies their order, limits their time, and checks
/// that their errors contain no secret. Clones share their state.
#[derive(Debug, Clone)]
pub(super) struct Supervisor(Arc<State>);

#[derive(Debug)]
struct State {
    time_limit: Duration,
    /// State of the random number generator of the supervisor.
    random: AtomicU64,
    /// Tokens and cookie values that the rule has given to the repository.
    secrets: Mutex<HashSet<String>>,
}

impl Supervisor {
    pub(super) fn new(time_limit: Duration) -> Self {
        Self(Arc::new(State {
            time_limit,
            random: AtomicU64::new(0),
            secrets: Mutex::default(),
        }))
    }

    /// Records the secret. No later error may contain it.
    fn note(&self, secret: &str) {
        let mut secrets = self
            .0
            .secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        secrets.insert(secret.to_owned());
    }

    /// Runs a call of the repository, and returns its result. The call yields to other tasks at
    /// random, so that concurrent calls run in many different orders, even if the repository itself
    /// never waits.
    ///
    /// Panics if the call does not return within the time limit, or if its error contains a secret.
    pub(super) async fn run<T>(
        &self,
        operation: &str,
        call: impl Future<Output = Result<T, RepositoryError>>,
    ) -> Result<T, RepositoryError> {
        self.yield_at_random().await;
        let limit = self.0.time_limit;
        let result = match select(pin!(call), Delay::new(limit)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => panic!("`{operation}` did not return within {limit:?}"),
        };
        if let Err(error) = &result {
            let secrets = self.0.secrets.lock();
            let secrets = secrets.unwrap_or_else(PoisonError::into_inner);
            assert_contains_no_secret(operation, error, secrets.iter().map(String::as_str));
        }
        self.yield_at_random().await;
        result
    }

    async fn yield_at_random(&self) {
        let mut yields = self.next_random() % (MAX_YIELDS + 1);
        poll_fn(|context| {
            if yields == 0 {
                return Poll::Ready(());
            }
            yields -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Returns the next random number (SplitMix64). The numbers are the same in each run. If the
    /// repository works in one thread, a test failure can therefore be reproduced.
    fn next_random(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let state = self.0.random.fetch_add(STEP, Ordering::Relaxed);
        let mut mixed = state.wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Argument of a repository operation.
pub(super) trait NoteSecrets {
    /// Records the secrets that the argument contains. No later error may contain them.
    fn note_secrets(&self, _supervisor: &Supervisor) {}
}

impl NoteSecrets for Duration {}

impl NoteSecrets for Option<Duration> {}

// The adapter chooses the content of a revision, and the secrets in it are those of the session.
impl NoteSecrets for Revision {}

impl NoteSecrets for SessionToken {
    fn note_secrets(&self, supervisor: &Supervisor) {
        supervisor.note(self.expose_secret());
    }
}

impl NoteSecrets for Session {
    /// Records the values of the cookies.
    fn note_secrets(&self, supervisor: &Supervisor) {
        let flat = self.cookies.iter().filter_map(|(_, value)| value);
        let others = self.cookies.others().iter();
        for value in flat.chain(others.map(|other| other.value.as_str())) {
            if value.len() >= SECRET_LEN {
                supervisor.note(value);
            }
        }
    }
}
