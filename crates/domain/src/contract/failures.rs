//! Contract tests of failures: an unreachable store, a hanging store, and a damaged record.

use std::{
    fmt::Debug,
    io::{self, Write},
    time::Duration,
};

use futures_util::{
    FutureExt, TryFutureExt,
    future::{LocalBoxFuture, join_all},
};

use super::{
    Harness, base_url, cookies, manager, secrets::assert_contains_no_secret, store_session,
};
use crate::{
    IndexEntry, InsertOutcome, LastRevocation, RepositoryError, SessionAttributes, SessionError,
    SessionId, SessionPatch, SessionRepository, SessionToken, Subject, SubjectIndex, UpdateError,
};

fn subject() -> Subject {
    "member".parse().expect("a valid subject")
}

/// If the store is unreachable, every operation returns `Unavailable`. No operation reports the
/// session as missing.
pub async fn unavailable_store_is_not_reported_as_a_missing_session<H: Harness>(harness: &H) {
    let new = store_session(&manager(harness, 60)).await;
    if harness.lose_store().await {
        assert_every_call_is_unavailable(harness, &new.token).await;
    } else {
        report_skipped(
            "unavailable_store_is_not_reported_as_a_missing_session",
            "lose_store",
        );
        assert_is_served(harness, &new.token).await;
    }
}

/// If the store accepts calls but does not reply, every operation returns `Unavailable` within the
/// time limit [`Harness::CALL_LIMIT`].
pub async fn call_to_a_hanging_store_fails_within_the_time_limit<H: Harness>(harness: &H) {
    let new = store_session(&manager(harness, 60)).await;
    if harness.hang_store().await {
        assert_every_call_is_unavailable(harness, &new.token).await;
    } else {
        report_skipped(
            "call_to_a_hanging_store_fails_within_the_time_limit",
            "hang_store",
        );
        assert_is_served(harness, &new.token).await;
    }
}

/// If the record of a session cannot be read, every operation that reads the record returns
/// `Corrupt`. The record stays in the store: later operations fail in the same way, and no other
/// session can be stored under the token.
pub async fn damaged_record_is_reported_as_corrupt_and_kept<H: Harness>(harness: &H) {
    let (sessions, repository) = (manager(harness, 60), harness.repository());
    let minute = Duration::from_secs(60);
    let new = store_session(&sessions).await;
    let token = &new.token;
    if !harness.damage(token).await {
        report_skipped("damaged_record_is_reported_as_corrupt_and_kept", "damage");
        assert_is_served(harness, token).await;
        return;
    }
    for _ in 0..2 {
        assert_is_corrupt("get", sessions.get(token).await);
        assert_is_corrupt("exists", sessions.exists(token).await);
        assert_is_corrupt("ttl", sessions.ttl(token).await);
        assert_is_corrupt("delete", sessions.delete(token).await);
        assert_is_corrupt("rotate", sessions.rotate(token).await);
        let patch = SessionPatch::default().set_cookie("a", "1");
        let updated = sessions.update(token, &patch, |_| true).await;
        assert_is_corrupt("update", updated.map_err(session_error));
        assert_is_corrupt("load_for_merge", sessions.load_for_merge(token).await);
        let loaded = repository.load_with_ttl(token).await;
        assert_is_corrupt("load_with_ttl", loaded.map_err(SessionError::from));
        let inserted = repository.insert(token, &new.session, minute).await;
        assert_eq!(
            inserted.expect("the call succeeds"),
            InsertOutcome::TokenTaken,
            "an insert must not replace a record that cannot be read"
        );
    }
}

/// No error contains a token or a cookie value in its `Display` or `Debug` text. The rule checks
/// the errors of all operations, for a damaged record and for an unreachable store.
pub async fn errors_contain_no_token_and_no_cookie<H: Harness>(harness: &H) {
    const RULE: &str = "errors_contain_no_token_and_no_cookie";
    const COOKIE: &str = "a-cookie-value-that-no-error-contains";
    let (sessions, repository) = (manager(harness, 60), harness.repository());
    let given = cookies([("SESSIONID", COOKIE)]);
    let new = sessions.store(given, base_url()).await;
    let new = new.expect("the store accepts a session");
    let seen = repository.load_for_update(&new.token, None).await;
    let seen = seen
        .expect("the call succeeds")
        .expect("the session is live");
    let (successor, minute) = (SessionToken::generate(), Duration::from_secs(60));
    let secrets = [new.token.expose_secret(), successor.expose_secret(), COOKIE];
    let index = repository.subjects();
    let (subject, revocation) = (subject(), LastRevocation(1));
    let mut session = new.session.clone();
    session.attributes = SessionAttributes::of_subject(subject.clone());
    let entry = IndexEntry {
        subject: subject.clone(),
        token: new.token.clone(),
        session,
        succeeds: None,
        kept_for: minute,
    };
    let token = &new.token;
    let revision = &seen.revision;
    let assert_all = async || {
        let calls = [
            failure("insert", repository.insert(token, &new.session, minute)),
            failure("load_and_touch", repository.load_and_touch(token, minute)),
            failure("load", repository.load(token)),
            failure("load_with_ttl", repository.load_with_ttl(token)),
            failure("load_for_update", repository.load_for_update(token, None)),
            failure(
                "load_for_update with a touch",
                repository.load_for_update(token, Some(minute)),
            ),
            failure(
                "compare_and_swap",
                repository.compare_and_swap(token, revision, &new.session, minute),
            ),
            failure(
                "move_to_new_token",
                repository.move_to_new_token(token, revision, &successor, &new.session, minute),
            ),
            failure("add", index.add(&entry)),
            failure("contains", index.contains(&subject, token, revocation)),
            failure("list", index.list(&subject, None, 10)),
            failure("mark_revocation", index.mark_revocation(&subject)),
            failure("remove_older", index.remove_older(&subject, revocation)),
            failure("remove_by_id", index.remove_by_id(SessionId::of(token))),
            failure("remove", repository.remove(token)),
        ];
        for (operation, error) in join_all(calls).await.into_iter().flatten() {
            assert_contains_no_secret(operation, &error, secrets);
        }
    };
    if harness.damage(token).await {
        assert_all().await;
    } else {
        report_skipped(RULE, "damage");
    }
    if harness.lose_store().await {
        assert_all().await;
    } else {
        report_skipped(RULE, "lose_store");
    }
}

/// Reports that a rule was not tested, because the method of the harness returned `false`. Writes
/// directly to stderr: test runners hide the captured output of a test that passes.
fn report_skipped(rule: &str, method: &str) {
    let line =
        format!("skipped: {rule} needs a fault, but `{method}` of the harness returned false\n");
    // The test must not fail if stderr is closed.
    let _ = io::stderr().write_all(line.as_bytes());
}

type Failure = Option<(&'static str, RepositoryError)>;

/// Runs a call. Returns `operation` and the error of the call, or `None` if the call succeeds.
fn failure<'a, T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, RepositoryError>> + 'a,
) -> LocalBoxFuture<'a, Failure> {
    call.map(move |result| Some((operation, result.err()?)))
        .boxed_local()
}

async fn assert_is_served<H: Harness>(harness: &H, token: &SessionToken) {
    let served = harness.repository().ping().await;
    served.expect("a store that cannot fail serves requests");
    let active = manager(harness, 60).get(token).await;
    active.expect("a store that cannot fail still has the session");
}

fn assert_is_corrupt<T: Debug>(operation: &str, result: Result<T, SessionError>) {
    let is_corrupt = matches!(
        result,
        Err(SessionError::Repository(RepositoryError::Corrupt { .. }))
    );
    assert!(
        is_corrupt,
        "`{operation}` of a damaged record must fail with `Corrupt`, but returned {result:?}"
    );
}

fn session_error(error: UpdateError) -> SessionError {
    match error {
        UpdateError::Session(error) => error,
        UpdateError::PreconditionFailed | UpdateError::Cookies(_) | UpdateError::ForeignUrl => {
            panic!("the store must report its failure, but the update failed with: {error}")
        }
    }
}

/// Runs every operation of the session manager, at the same time, and asserts that each returns
/// `Unavailable`.
async fn assert_every_call_is_unavailable<H: Harness>(harness: &H, token: &SessionToken) {
    type Call<'a> = LocalBoxFuture<'a, Result<(), SessionError>>;
    let (sessions, repository) = (manager(harness, 60), harness.repository());
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(token, &patch, |_| true);
    let subject = subject();
    let store = sessions.store(cookies([("a", "1")]), base_url());
    let loaded = sessions.load_for_merge(token);
    let calls: [(&str, Call<'_>); 12] = [
        ("load_for_merge", loaded.map_ok(drop).boxed_local()),
        ("get", sessions.get(token).map_ok(drop).boxed_local()),
        ("exists", sessions.exists(token).map_ok(drop).boxed_local()),
        ("ttl", sessions.ttl(token).map_ok(drop).boxed_local()),
        ("delete", sessions.delete(token).map_ok(drop).boxed_local()),
        ("rotate", sessions.rotate(token).map_ok(drop).boxed_local()),
        (
            "update",
            updated.map_ok(drop).map_err(session_error).boxed_local(),
        ),
        (
            "list",
            sessions.list(&subject, None, 10).map_ok(drop).boxed_local(),
        ),
        (
            "revoke_all",
            sessions.revoke_all(&subject).map_ok(drop).boxed_local(),
        ),
        (
            "revoke",
            sessions
                .revoke(SessionId::of(token))
                .map_ok(drop)
                .boxed_local(),
        ),
        ("store", store.map_ok(drop).boxed_local()),
        (
            "ping",
            repository.ping().map_err(SessionError::from).boxed_local(),
        ),
    ];
    let calls = calls.map(|(operation, call)| call.map(move |result| (operation, result)));
    for (operation, result) in join_all(calls).await {
        let is_unavailable = matches!(
            result,
            Err(SessionError::Repository(
                RepositoryError::Unavailable { .. }
            ))
        );
        assert!(
            is_unavailable,
            "`{operation}` must fail with `Unavailable`, but returned {result:?}"
        );
    }
}
