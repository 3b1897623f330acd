#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "assertions of tests that adapters run"
)]
//! The contract suite: what every [`SessionRepository`] must do, as tests.
//!
//! An adapter implements [`Harness`] and calls [`contract_suite!`](crate::contract_suite),
//! which writes one test per rule:
//!
//! ```text
//! tee_session_domain::contract_suite! {
//!     test = #[tokio::test],
//!     harness = MyHarness::start().await,
//! }
//! ```
//!
//! The rules need no runtime of their own: any that drives the adapter will do.

mod concurrency;
mod deletion;
mod expiry;
mod logins;
mod rotation;
mod storage;
mod subjects;
mod updates;

use std::{future::Future, time::Duration};

pub use self::{
    concurrency::*, deletion::*, expiry::*, logins::*, rotation::*, storage::*, subjects::*,
    updates::*,
};
use crate::{
    BaseUrl, Cookies, Login, NewSession, SessionManager, SessionPolicy, SessionRepository,
};

/// What the suite needs of the adapter under test.
pub trait Harness {
    /// The repository under test; clones share one store.
    type Repository: SessionRepository + Clone;

    /// A handle to the repository.
    fn repository(&self) -> Self::Repository;

    /// Lets `duration` pass on the store's clock.
    fn pass(&self, duration: Duration) -> impl Future<Output = ()>;

    /// Makes the store unreachable for good. `false` when the store is part of the process and
    /// cannot be lost; the suite then checks that it still serves.
    fn lose_store(&self) -> impl Future<Output = bool>;
}

/// Writes one test per rule of the contract, each with a harness of its own.
#[macro_export]
macro_rules! contract_suite {
    (test = #[$test:meta], harness = $harness:expr $(,)?) => {
        $crate::contract_suite! {
            @cases #[$test], $harness;
            a_session_is_read_back_as_it_was_stored
            unicode_and_semicolons_in_cookie_values_survive
            every_accepted_login_survives_byte_for_byte_and_in_order
            an_unknown_token_finds_nothing
            a_second_insert_under_one_token_changes_nothing
            a_new_session_expires_after_its_ttl
            an_access_slides_the_idle_timeout
            exists_and_ttl_do_not_slide
            fetch_reads_and_does_not_slide
            an_access_within_the_touch_interval_does_not_slide
            a_session_lives_its_idle_timeout_after_an_access_that_did_not_slide
            ttl_tells_the_remaining_time
            the_absolute_lifetime_ends_a_session_in_constant_use
            exists_ttl_and_delete_obey_the_absolute_lifetime
            the_clock_of_the_store_moves_on
            a_deleted_session_is_gone
            deleting_twice_deletes_once
            deleting_an_unknown_session_deletes_nothing
            nothing_resurrects_a_deleted_session
            one_of_many_concurrent_deletes_wins
            reads_that_race_a_delete_never_bring_it_back
            many_concurrent_sessions_keep_apart
            unavailable_is_not_not_found
            an_update_is_read_back
            an_update_slides_the_idle_timeout
            an_update_keeps_the_absolute_end
            no_update_of_many_writers_is_lost
            of_many_updates_of_one_state_one_succeeds
            updates_that_race_a_delete_never_bring_it_back
            an_unknown_session_is_not_updated
            only_the_state_that_was_seen_is_replaced
            a_rotated_session_stands_under_its_new_token_alone
            a_rotation_slides_and_keeps_the_absolute_end
            of_many_rotations_of_one_token_one_succeeds
            a_rotation_that_races_a_delete_has_one_outcome
            a_rotation_loses_no_update
            an_unknown_session_is_not_rotated
            what_is_not_relocated_stays_where_it_was
            a_subjects_sessions_are_listed_oldest_first
            a_long_list_comes_in_pages
            an_ended_session_is_not_listed
            a_session_in_use_stays_listed
            a_rotated_session_is_listed_by_its_new_id
            a_session_is_revoked_by_its_id
            all_sessions_of_a_subject_are_revoked
            creations_that_race_a_revocation_are_revoked_or_new
            no_rotation_escapes_a_revocation
            a_subject_at_its_limit_loses_its_oldest_session
            a_subject_at_its_limit_is_refused_another_session
        }
    };
    (@cases #[$test:meta], $harness:expr; $($case:ident)+) => {
        $(
            #[$test]
            async fn $case() {
                $crate::contract::$case(&$harness).await;
            }
        )+
    };
}

/// A manager over the harness's repository whose sessions idle for `idle_timeout` seconds.
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
    SessionManager::new(harness.repository(), policy.expect("a sound policy"))
}

/// The same, and an access slides a session at most each `touch_interval` seconds.
fn manager_with_touch_interval<H: Harness>(
    harness: &H,
    idle_timeout: u64,
    touch_interval: u64,
) -> SessionManager<H::Repository> {
    let policy = SessionPolicy::new(Duration::from_secs(idle_timeout), None)
        .and_then(|policy| policy.with_touch_interval(Duration::from_secs(touch_interval)));
    SessionManager::new(harness.repository(), policy.expect("a sound policy"))
}

fn cookies<const N: usize>(cookies: [(&str, &str); N]) -> Cookies {
    Cookies::new(cookies.map(|(name, value)| (name.to_owned(), value.to_owned())))
        .expect("sound cookies")
}

fn base_url() -> BaseUrl {
    BaseUrl::new("https://golf.example/members").expect("a sound base URL")
}

/// A new session of the subject.
async fn of_subject<R: SessionRepository>(
    sessions: &SessionManager<R>,
    subject: &str,
    label: &str,
) -> NewSession {
    let login = Login {
        subject: Some(subject.parse().expect("a sound subject")),
        label: Some(label.parse().expect("a sound label")),
        ..Login::new(cookies([("SESSIONID", "a1b2c3")]), base_url())
    };
    let new = sessions.store_login(login).await;
    new.expect("the store takes a session")
}

async fn stored<R: SessionRepository>(sessions: &SessionManager<R>) -> NewSession {
    sessions
        .store(cookies([("SESSIONID", "a1b2c3")]), base_url())
        .await
        .expect("the store takes a session")
}
