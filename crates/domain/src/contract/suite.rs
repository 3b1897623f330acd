//! The macro [`contract_suite!`](crate::contract_suite), which lists all rules of the contract.

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
