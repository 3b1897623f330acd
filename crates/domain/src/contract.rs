#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "assertions of tests that adapters run"
)]
//! Contract suite: tests that every implementation of [`SessionRepository`] must pass.
//!
//! An adapter implements [`Harness`] and calls [`contract_suite!`](crate::contract_suite). The
//! macro generates one test per rule of the contract. The name of the test states the rule, and the
//! message of a failed assertion states the part of the rule that the adapter breaks:
//!
//! ```text
//! tee_session_domain::contract_suite! {
//!     test = #[tokio::test],
//!     harness = MyHarness::start().await,
//! }
//! ```
//!
//! For an adapter that does not support subjects ([`NoSubjects`](crate::NoSubjects)), add
//! `subjects = none`. The macro then leaves out the rules for the sessions of a subject. Instead,
//! it generates a test that sessions with a subject are rejected:
//!
//! ```text
//! tee_session_domain::contract_suite! {
//!     test = #[tokio::test],
//!     harness = MyHarness::start().await,
//!     subjects = none,
//! }
//! ```
//!
//! For an adapter that keeps no records of requests with an `Idempotency-Key`
//! ([`NoIdempotency`](crate::NoIdempotency)), add `idempotency = none`, after `subjects = none` if
//! both apply.
//!
//! If a harness returns `false` from [`lose_store`](Harness::lose_store),
//! [`hang_store`](Harness::hang_store) or [`damage`](Harness::damage), the rules that need this
//! fault are skipped: their tests pass, and each prints a line to stderr.
//!
//! Each rule runs with [`Supervised`], which varies the order of concurrent calls, limits their
//! time, and checks that errors contain no secrets. If a rule fails because the machine was too
//! slow, [`repeat_if_late`] repeats the rule with longer times.
//!
//! The tests need no specific async runtime. Any runtime that the adapter supports can run them.

mod abandoned_requests;
mod concurrency;
mod deletion;
mod expiry;
mod failures;
mod idempotency;
mod logins;
mod merges;
mod pace;
mod repetitions;
mod repetitions_with_subjects;
mod revocations;
mod rotation;
mod secrets;
mod storage;
mod subject_index;
mod subject_limit;
mod subjects;
mod suite;
mod supervised;
mod supervisor;
mod updates;
mod without_subjects;

use std::{future::Future, time::Duration};

pub use self::{
    abandoned_requests::*,
    concurrency::*,
    deletion::*,
    expiry::*,
    failures::*,
    idempotency::*,
    logins::*,
    merges::*,
    pace::{Pace, repeat_if_late},
    repetitions::*,
    repetitions_with_subjects::*,
    revocations::*,
    rotation::*,
    storage::*,
    subject_index::*,
    subject_limit::*,
    subjects::*,
    supervised::{Supervised, SupervisedIdempotency, SupervisedIndex, SupervisedRepository},
    updates::*,
    without_subjects::*,
};
use crate::{
    BaseUrl, Cookies, Login, NewSession, SessionAttributes, SessionManager, SessionPolicy,
    SessionRepository, SessionToken,
};

/// Test harness: gives the contract suite access to the adapter under test.
pub trait Harness {
    /// Type of the repository under test. All clones of a repository use the same store.
    type Repository: SessionRepository + Clone;

    /// Maximum duration of one call of the repository, with a tolerance for a busy machine. A rule
    /// fails if a call takes longer, even if the call never returns. The limit must be longer than
    /// the time limit that the adapter sets for its calls.
    const CALL_LIMIT: Duration = Duration::from_secs(60);

    /// Returns the repository under test.
    fn repository(&self) -> Self::Repository;

    /// Advances the store's clock by `duration`. If the clock cannot be set, waits for `duration`.
    fn pass(&self, duration: Duration) -> impl Future<Output = ()>;

    /// Makes the store unreachable for the rest of the test. Returns `false` if the store runs in
    /// the test process and cannot become unreachable. In that case, the rules for an unreachable
    /// store are skipped: the suite only checks that the store still serves requests.
    fn lose_store(&self) -> impl Future<Output = bool>;

    /// Makes the store hang for the rest of the test: the store accepts calls, but does not reply.
    /// Returns `false` if the store runs in the test process and cannot hang. In that case, the
    /// rule for a hanging store is skipped: the suite only checks that the store still serves
    /// requests.
    fn hang_store(&self) -> impl Future<Output = bool>;

    /// Overwrites the stored record of the session with data that is not a session, and keeps the
    /// TTL of the record. Returns when every read of the record finds the new data. Returns `false`
    /// if the store keeps sessions as values of the test process, which cannot be overwritten. In
    /// that case, the rules for a damaged record are skipped: the suite only checks that the
    /// session is still served.
    fn damage(&self, token: &SessionToken) -> impl Future<Output = bool>;
}

/// Creates a session manager for the repository of the harness. `idle_timeout` is in seconds.
fn manager<H: Harness>(harness: &H, idle_timeout: u64) -> SessionManager<H::Repository> {
    manager_with_lifetime(harness, idle_timeout, None)
}

fn manager_with_lifetime<H: Harness>(
    harness: &H,
    idle_timeout: u64,
    absolute_lifetime: Option<u64>,
) -> SessionManager<H::Repository> {
    let policy = SessionPolicy::new(
        Duration::from_secs(idle_timeout),
        absolute_lifetime.map(Duration::from_secs),
    );
    SessionManager::new(harness.repository(), policy.expect("a valid policy"))
}

/// Creates a session manager with a touch interval, so that accesses renew a session's TTL at most
/// once per `touch_interval` seconds.
fn manager_with_touch_interval<H: Harness>(
    harness: &H,
    idle_timeout: u64,
    touch_interval: u64,
) -> SessionManager<H::Repository> {
    let policy = SessionPolicy::new(Duration::from_secs(idle_timeout), None)
        .and_then(|policy| policy.with_touch_interval(Duration::from_secs(touch_interval)));
    SessionManager::new(harness.repository(), policy.expect("a valid policy"))
}

/// Lets `duration` pass for the store, multiplied by the factor of `pace`. The factor grows with
/// each repetition of the test.
async fn pass<H: Harness>(pace: &Pace, harness: &H, duration: Duration) {
    pace.wait(duration, |duration| harness.pass(duration)).await;
}

fn cookies<const N: usize>(cookies: [(&str, &str); N]) -> Cookies {
    Cookies::new(cookies.map(|(name, value)| (name.to_owned(), value.to_owned())))
        .expect("valid cookies")
}

fn base_url() -> BaseUrl {
    BaseUrl::new("https://golf.example/members").expect("a valid base URL")
}

/// Creates a session with the given subject and label, and stores it.
async fn store_session_of<R: SessionRepository>(
    sessions: &SessionManager<R>,
    subject: &str,
    label: &str,
) -> NewSession {
    let login = Login {
        attributes: SessionAttributes {
            label: Some(label.parse().expect("a valid label")),
            ..SessionAttributes::of_subject(subject.parse().expect("a valid subject"))
        },
        ..Login::new(cookies([("SESSIONID", "a1b2c3")]), base_url())
    };
    let new = sessions.store_login(login).await;
    new.expect("the store accepts a session")
}

/// Creates a session with a label and without a subject, and stores it.
async fn store_session_with_label<R: SessionRepository>(
    sessions: &SessionManager<R>,
    label: &str,
) -> NewSession {
    let login = Login {
        attributes: SessionAttributes {
            label: Some(label.parse().expect("a valid label")),
            ..SessionAttributes::default()
        },
        ..Login::new(cookies([("SESSIONID", "a1b2c3")]), base_url())
    };
    let new = sessions.store_login(login).await;
    new.expect("the store accepts a session")
}

/// Creates a session without attributes, and stores it.
async fn store_session<R: SessionRepository>(sessions: &SessionManager<R>) -> NewSession {
    sessions
        .store(cookies([("SESSIONID", "a1b2c3")]), base_url())
        .await
        .expect("the store accepts a session")
}
