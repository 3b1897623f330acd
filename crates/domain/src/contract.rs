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

/// Generates one test per rule of the repository contract. Each test creates its own harness, and
/// supervises the calls of its repository ([`Supervised`](crate::contract::Supervised)).
///
/// The arguments must be in this order:
///
/// 1. `test`: the attribute of an asynchronous test, such as `#[tokio::test]`.
/// 2. `harness`: an expression for the [`Harness`](crate::contract::Harness). Each test evaluates
///    it once, in an asynchronous function.
/// 3. `subjects = none`, if the adapter does not support subjects.
/// 4. `idempotency = none`, if the adapter keeps no records of requests with an `Idempotency-Key`.
///
/// ```text
/// tee_session_domain::contract_suite! {
///     test = #[tokio::test],
///     harness = MyHarness::start().await,
///     subjects = none,
///     idempotency = none,
/// }
/// ```
#[macro_export]
macro_rules! contract_suite {
    (test = #[$test:meta], harness = $harness:expr $(,)?) => {
        $crate::contract_suite! { @rules_without_subjects #[$test], $harness }
        $crate::contract_suite! { @rules_with_subjects #[$test], $harness }
        $crate::contract_suite! { @rules_of_idempotency #[$test], $harness }
        $crate::contract_suite! { @rules_of_idempotency_with_subjects #[$test], $harness }
    };
    (test = #[$test:meta], harness = $harness:expr, idempotency = none $(,)?) => {
        $crate::contract_suite! { @rules_without_subjects #[$test], $harness }
        $crate::contract_suite! { @rules_with_subjects #[$test], $harness }
    };
    (test = #[$test:meta], harness = $harness:expr, subjects = none $(,)?) => {
        $crate::contract_suite! {
            test = #[$test], harness = $harness, subjects = none, idempotency = none
        }
        $crate::contract_suite! { @rules_of_idempotency #[$test], $harness }
    };
    (test = #[$test:meta], harness = $harness:expr, subjects = none, idempotency = none $(,)?) => {
        $crate::contract_suite! { @rules_without_subjects #[$test], $harness }
        $crate::contract_suite! {
            @cases #[$test], $harness;
            session_with_a_subject_is_rejected_without_a_subject_index
        }
    };
    (@rules_without_subjects #[$test:meta], $harness:expr) => {
        $crate::contract_suite! {
            @cases #[$test], $harness;
            stored_session_is_read_back_unchanged
            cookie_values_with_unicode_and_separators_are_kept
            cookies_that_jars_hold_are_kept
            session_without_cookies_is_kept
            random_valid_cookies_and_base_urls_are_read_back_unchanged
            unknown_token_finds_no_session
            second_insert_under_the_same_token_is_rejected
            new_session_expires_after_its_ttl
            access_renews_the_idle_timeout
            exists_and_ttl_do_not_renew_the_idle_timeout
            load_does_not_renew_the_ttl
            access_within_the_touch_interval_does_not_renew_the_ttl
            session_lives_for_its_idle_timeout_after_an_access_without_ttl_renewal
            ttl_returns_the_remaining_lifetime
            absolute_lifetime_ends_a_session_in_constant_use
            exists_ttl_and_delete_find_no_session_past_its_absolute_lifetime
            repository_clock_advances_as_fast_as_the_store_clock
            deleted_session_is_not_found
            second_delete_returns_false
            deleting_an_unknown_session_returns_false
            removing_an_expired_session_returns_false
            touch_does_not_restore_a_deleted_session
            exactly_one_of_many_concurrent_deletes_succeeds
            concurrent_reads_do_not_restore_a_deleted_session
            concurrently_used_tokens_return_only_their_own_sessions
            unavailable_store_is_not_reported_as_a_missing_session
            call_to_a_hanging_store_fails_within_the_time_limit
            damaged_record_is_reported_as_corrupt_and_kept
            errors_contain_no_token_and_no_cookie
            updated_cookies_are_read_back
            update_renews_the_idle_timeout
            update_does_not_extend_the_absolute_lifetime
            concurrent_updates_are_not_lost
            exactly_one_of_many_updates_with_the_same_precondition_succeeds
            concurrent_updates_do_not_restore_a_deleted_session
            expired_session_is_neither_replaced_nor_moved
            updating_an_unknown_session_returns_not_found
            compare_and_swap_fails_after_a_change_but_not_after_a_touch
            merged_cookies_and_their_attributes_are_read_back
            merge_renews_the_idle_timeout
            merge_within_the_touch_interval_does_not_renew_the_ttl
            expired_cookies_are_left_out
            merge_without_a_change_writes_nothing
            concurrent_merges_are_not_lost
            concurrent_merges_and_updates_are_not_lost
            concurrent_merges_do_not_restore_a_deleted_session
            rotated_session_is_found_only_under_its_new_token
            rotation_renews_the_idle_timeout_but_not_the_absolute_lifetime
            exactly_one_of_many_concurrent_rotations_succeeds
            exactly_one_of_concurrent_rotation_and_delete_succeeds
            rotation_keeps_concurrent_updates
            rotating_an_unknown_session_returns_not_found
            failed_move_to_a_new_token_changes_no_record
        }
    };
    (@rules_with_subjects #[$test:meta], $harness:expr) => {
        $crate::contract_suite! {
            @cases #[$test], $harness;
            sessions_of_a_subject_are_listed_oldest_first
            subjects_may_contain_any_characters
            each_session_is_on_exactly_one_page_of_a_list
            deleted_or_expired_session_is_not_listed
            regularly_accessed_session_stays_listed
            rotated_session_is_listed_under_its_new_id
            session_is_revoked_by_its_id
            session_is_found_by_its_id
            all_sessions_of_a_subject_are_revoked
            session_created_during_a_revocation_is_either_revoked_or_listed
            session_rotated_during_a_revocation_is_revoked
            oldest_session_is_evicted_at_the_session_limit_of_a_subject
            new_session_is_rejected_at_the_session_limit_of_a_subject
            session_keeps_its_subject_through_updates_and_rotations
            removing_older_sessions_keeps_newer_sessions
            index_contains_no_session_from_before_a_revocation
            position_of_a_revocation_is_its_time_on_the_store_clock
        }
    };
    (@rules_of_idempotency #[$test:meta], $harness:expr) => {
        $crate::contract_suite! {
            @cases #[$test], $harness;
            first_idempotency_record_with_a_key_is_kept_and_read_back_unchanged
            idempotency_record_is_changed_only_with_its_current_revision
            exactly_one_of_many_concurrent_changes_of_an_idempotency_record_succeeds
            idempotency_record_expires_after_its_lifetime
            repeated_creation_returns_the_same_session
            repeated_rotation_returns_the_same_new_token
            idempotency_key_of_another_request_is_rejected
            rotation_of_an_unknown_token_stores_no_idempotency_record
            concurrent_rotations_with_one_key_return_one_new_token
            concurrent_repetitions_of_an_abandoned_rotation_return_one_new_token
            abandoned_creation_is_finished_by_a_repetition_after_the_lease
            abandoned_rotation_is_finished_with_the_same_token
            rotation_with_a_key_keeps_concurrent_updates
            exactly_one_of_a_rotation_with_a_key_and_one_without_succeeds
            rotation_without_time_keeps_the_old_token_and_can_be_repeated
        }
    };
    (@rules_of_idempotency_with_subjects #[$test:meta], $harness:expr) => {
        $crate::contract_suite! {
            @cases #[$test], $harness;
            concurrent_creations_with_one_key_create_one_session
            concurrent_repetitions_of_an_abandoned_creation_create_one_session
            creations_that_take_over_from_each_other_deliver_one_token
            abandoned_rotation_shortly_after_a_revocation_and_a_login_is_finished
            revoked_session_is_not_returned_by_a_repeated_rotation
            creations_that_take_over_from_each_other_keep_the_delivered_session_at_the_limit
            failed_creation_leaves_no_session_and_no_idempotency_record
        }
    };
    (@cases #[$test:meta], $harness:expr; $($case:ident)+) => {
        $(
            #[$test]
            async fn $case() {
                $crate::contract::$case(&$crate::contract::Supervised::new($harness)).await;
            }
        )+
    };
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
            subject: Some(subject.parse().expect("a valid subject")),
            label: Some(label.parse().expect("a valid label")),
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
            subject: None,
            label: Some(label.parse().expect("a valid label")),
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
