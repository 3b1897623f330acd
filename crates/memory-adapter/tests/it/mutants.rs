//! Tests of the contract suite itself: the suite rejects each adapter with a fault, and accepts the
//! same adapter without a fault.
//!
//! The page `docs/mutation-tests.md` lists the faults, and the rules that detect them. A test of
//! the crate `tee-session` compares the page with the table in this file.

mod fault;
mod faulty_index;
mod faulty_repository;

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tee_session_domain::{SessionToken, contract::Harness};

use self::{
    fault::Fault,
    faulty_repository::{FaultyRepository, Store},
};

struct WithFault(FaultyRepository);

impl WithFault {
    fn new(fault: Option<Fault>) -> Self {
        Self(FaultyRepository::new(fault))
    }
}

impl Harness for WithFault {
    type Repository = FaultyRepository;

    // Shorter than the default, because the test of a call that never returns waits for this time.
    const CALL_LIMIT: Duration = Duration::from_secs(5);

    fn repository(&self) -> FaultyRepository {
        self.0.clone()
    }

    async fn pass(&self, duration: Duration) {
        self.0.advance_clock(duration);
    }

    async fn lose_store(&self) -> bool {
        self.0.set_store(Store::Lost);
        true
    }

    async fn hang_store(&self) -> bool {
        self.0.set_store(Store::Hanging);
        true
    }

    async fn damage(&self, token: &SessionToken) -> bool {
        self.0.damage(token);
        true
    }
}

mod without_fault {
    use super::WithFault;

    tee_session_domain::contract_suite! {
        test = #[tokio::test],
        harness = WithFault::new(None),
    }
}

/// Generates one test for each fault. The test runs one rule of the contract suite on a repository
/// with the fault, and passes only if the rule fails.
macro_rules! detected_faults {
    ($($test:ident: $fault:ident, $description:literal, $rule:ident;)+) => {
        $(
            #[tokio::test]
            async fn $test() {
                let harness = tee_session_domain::contract::Supervised::new(
                    WithFault::new(Some(Fault::$fault)),
                );
                let rule = tee_session_domain::contract::$rule(&harness);
                let result = AssertUnwindSafe(rule).catch_unwind().await;
                assert!(result.is_err(), "not detected: {}", $description);
            }
        )+
    };
}

detected_faults! {
    contains_is_always_true:
        ContainsIsAlwaysTrue, "`contains` always returns `true`",
        index_contains_no_session_from_before_a_revocation;
    contains_is_always_true_during_a_revocation:
        ContainsIsAlwaysTrue, "`contains` always returns `true`",
        session_created_during_a_revocation_is_either_revoked_or_listed;
    contains_ignores_position:
        ContainsIgnoresPosition, "`contains` ignores the position of the session",
        index_contains_no_session_from_before_a_revocation;
    contains_ignores_last_revocation:
        ContainsIgnoresLastRevocation, "`contains` ignores the revocation that the caller knows",
        index_contains_no_session_from_before_a_revocation;
    remove_older_removes_newer:
        RemoveOlderRemovesNewer, "`remove_older` also removes newer sessions",
        removing_older_sessions_keeps_newer_sessions;
    remove_reports_expired_session:
        RemoveReportsExpiredSession, "`remove` returns `true` for an expired session",
        removing_an_expired_session_returns_false;
    move_ignores_expiry:
        MoveIgnoresExpiry, "`move_to_new_token` moves an expired session",
        expired_session_is_neither_replaced_nor_moved;
    move_ignores_revision:
        MoveIgnoresRevision, "`move_to_new_token` ignores the revision",
        rotation_keeps_concurrent_updates;
    move_keeps_old_record:
        MoveKeepsOldRecord, "`move_to_new_token` keeps the old record",
        rotated_session_is_found_only_under_its_new_token;
    swap_ignores_revision:
        SwapIgnoresRevision, "`compare_and_swap` ignores the revision",
        concurrent_updates_are_not_lost;
    swap_keeps_old_ttl:
        SwapKeepsOldTtl, "`compare_and_swap` does not set the new TTL",
        update_renews_the_idle_timeout;
    insert_overwrites:
        InsertOverwrites, "`insert` overwrites a record",
        second_insert_under_the_same_token_is_rejected;
    touch_restores_deleted_session:
        TouchRestoresDeletedSession, "`load_and_touch` restores a deleted session",
        touch_does_not_restore_a_deleted_session;
    touch_changes_revision:
        TouchChangesRevision, "`load_and_touch` changes the revision",
        compare_and_swap_fails_after_a_change_but_not_after_a_touch;
    load_for_update_renews_no_ttl:
        LoadForUpdateRenewsNoTtl, "`load_for_update` does not renew the TTL",
        merge_renews_the_idle_timeout;
    load_for_update_always_renews_ttl:
        LoadForUpdateAlwaysRenewsTtl, "`load_for_update` renews the TTL without a request to do so",
        merge_within_the_touch_interval_does_not_renew_the_ttl;
    load_for_update_changes_revision:
        LoadForUpdateChangesRevision, "`load_for_update` changes the revision if it renews the TTL",
        merge_without_a_change_writes_nothing;
    swap_ignores_revision_of_merge:
        SwapIgnoresRevision, "`compare_and_swap` ignores the revision",
        concurrent_merges_and_updates_are_not_lost;
    cookie_attributes_are_lost:
        CookieAttributesAreLost, "attributes of cookies are not stored",
        merged_cookies_and_their_attributes_are_read_back;
    load_renews_ttl:
        LoadRenewsTtl, "`load` renews the TTL",
        load_does_not_renew_the_ttl;
    list_is_newest_first:
        ListIsNewestFirst, "a list is sorted from newest to oldest",
        sessions_of_a_subject_are_listed_oldest_first;
    list_ignores_cursor:
        ListIgnoresCursor, "`list` ignores the cursor",
        each_session_is_on_exactly_one_page_of_a_list;
    list_ends_after_one_page:
        ListEndsAfterOnePage, "`list` returns no cursor for the next page",
        each_session_is_on_exactly_one_page_of_a_list;
    list_keeps_expired_sessions:
        ListKeepsExpiredSessions, "a list contains expired sessions",
        deleted_or_expired_session_is_not_listed;
    remove_by_id_removes_nothing:
        RemoveByIdRemovesNothing, "`remove_by_id` returns `true` but removes nothing",
        session_is_revoked_by_its_id;
    successor_gets_new_position:
        SuccessorGetsNewPosition, "a rotated session gets a new position in the index",
        rotated_session_is_listed_under_its_new_id;
    times_in_whole_seconds:
        TimesInWholeSeconds, "times are stored in whole seconds",
        stored_session_is_read_back_unchanged;
    cookies_in_other_order:
        CookiesInOtherOrder, "cookies are stored in another order",
        cookie_values_with_unicode_and_separators_are_kept;
    label_is_lost:
        LabelIsLost, "the label is not stored",
        stored_session_is_read_back_unchanged;
    clock_is_one_hour_ahead:
        ClockIsOneHourAhead, "`now` is one hour ahead of the store's clock",
        position_of_a_revocation_is_its_time_on_the_store_clock;
    clock_runs_twice_as_fast:
        ClockRunsTwiceAsFast, "`now` advances twice as fast as the store's clock",
        repository_clock_advances_as_fast_as_the_store_clock;
    outage_reported_as_missing:
        OutageReportedAsMissing, "a session in an unreachable store is reported as missing",
        unavailable_store_is_not_reported_as_a_missing_session;
    call_never_returns:
        CallNeverReturns, "a call to a hanging store never returns",
        call_to_a_hanging_store_fails_within_the_time_limit;
    corrupt_reported_as_missing:
        CorruptReportedAsMissing, "a damaged record is reported as missing",
        damaged_record_is_reported_as_corrupt_and_kept;
    corrupt_record_is_removed:
        CorruptRecordIsRemoved, "a damaged record is removed when it is read",
        damaged_record_is_reported_as_corrupt_and_kept;
    error_shows_token:
        ErrorShowsToken, "an error contains the token",
        errors_contain_no_token_and_no_cookie;
    error_shows_cookie:
        ErrorShowsCookie, "an error contains a cookie",
        errors_contain_no_token_and_no_cookie;
}
