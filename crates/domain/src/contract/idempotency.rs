//! Contract tests of the idempotency store: the records of requests that clients may repeat.

use std::time::Duration;

use futures_util::future::join_all;
use time::OffsetDateTime;

use super::{Harness, base_url, cookies};
use crate::{
    BeginOutcome, EntityTag, IdempotencyKey, IdempotencyRecord, IdempotencyState, IdempotencyStore,
    IdempotentRequest, IdempotentResult, Login, Revision, Session, SessionRepository, SessionToken,
    VersionedRecord,
};

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Returns a request with a new random `Idempotency-Key` and the body `body`.
pub(super) fn request(body: &str) -> IdempotentRequest {
    let random = SessionToken::generate();
    request_with_key(random.expose_secret(), body)
}

pub(super) fn request_with_key(key: &str, body: &str) -> IdempotentRequest {
    let key = IdempotencyKey::derive("contract suite", b"credential", key.as_bytes());
    IdempotentRequest {
        fingerprint: key.fingerprint(body.as_bytes()),
        key,
        lease: MINUTE,
    }
}

/// Returns the idempotency record of a running operation whose lease ends at `until`.
pub(super) fn running(
    request: &IdempotentRequest,
    token: &SessionToken,
    until: OffsetDateTime,
) -> IdempotencyRecord {
    IdempotencyRecord {
        fingerprint: request.fingerprint,
        token: token.clone(),
        state: IdempotencyState::Running { until },
    }
}

/// Stores `record` as the first idempotency record of the request, and returns its revision.
pub(super) async fn begin<R: SessionRepository>(
    repository: &R,
    request: &IdempotentRequest,
    record: &IdempotencyRecord,
) -> Revision {
    let store = repository.idempotency();
    let begun = store.begin(&request.key, record, MINUTE).await;
    match begun.expect("the call succeeds") {
        BeginOutcome::Begun(revision) => revision,
        BeginOutcome::Exists(_) => panic!("another request has the same key"),
    }
}

/// Returns the stored idempotency record of the request.
pub(super) async fn find<R: SessionRepository>(
    repository: &R,
    request: &IdempotentRequest,
) -> Option<VersionedRecord> {
    let found = repository.idempotency().find(&request.key).await;
    found.expect("the call succeeds")
}

/// The store keeps the first record with an `Idempotency-Key`, and returns it unchanged. It does
/// not store a second record with the same key.
pub async fn first_idempotency_record_with_a_key_is_kept_and_read_back_unchanged<H: Harness>(
    harness: &H,
) {
    let repository = harness.repository();
    let request = request("body");
    // Stored times have a resolution of microseconds.
    let now = OffsetDateTime::UNIX_EPOCH + time::Duration::microseconds(1_700_000_000_123_456);
    let record = running(&request, &SessionToken::generate(), now);
    assert_eq!(
        find(&repository, &request).await,
        None,
        "there is no record before the first `begin`"
    );
    let revision = begin(&repository, &request, &record).await;
    let first = VersionedRecord { record, revision };
    assert_eq!(
        find(&repository, &request).await,
        Some(first.clone()),
        "`find` returns the record and the revision that `begin` stored"
    );

    let second = running(&request, &SessionToken::generate(), now);
    let store = repository.idempotency();
    let begun = store.begin(&request.key, &second, MINUTE).await;
    assert_eq!(
        begun.expect("the call succeeds"),
        BeginOutcome::Exists(Box::new(first.clone())),
        "`begin` with the key of an existing record returns this record"
    );
    assert_eq!(
        find(&repository, &request).await,
        Some(first.clone()),
        "`begin` must not replace an existing record"
    );

    let login = Login::new(cookies([("SESSIONID", "a1b2c3")]), base_url());
    let session = Session::new(login, now, None);
    let done = IdempotencyRecord {
        state: IdempotencyState::Done(IdempotentResult {
            ttl: MINUTE,
            expires_at: now + MINUTE,
            tag: EntityTag::of(&first.record.token, &session),
        }),
        ..first.record
    };
    let replaced = store.replace(&request.key, &first.revision, &done, MINUTE);
    let revision = replaced
        .await
        .expect("the call succeeds")
        .expect("the record has not changed since the revision");
    let record = done;
    let expected = VersionedRecord { record, revision };
    assert_eq!(
        find(&repository, &request).await,
        Some(expected),
        "`find` returns the record and the revision that `replace` stored"
    );
}

/// An idempotency record is replaced or removed only if the caller passes its current revision.
/// Each replacement creates a new revision, even if the content stays the same.
pub async fn idempotency_record_is_changed_only_with_its_current_revision<H: Harness>(harness: &H) {
    let repository = harness.repository();
    let (store, request) = (repository.idempotency(), request("body"));
    let record = running(&request, &SessionToken::generate(), repository.now());
    let first = begin(&repository, &request, &record).await;
    let second = store.replace(&request.key, &first, &record, MINUTE).await;
    let second = second
        .expect("the call succeeds")
        .expect("the record has not changed since the revision");
    assert_ne!(
        first, second,
        "`replace` creates a new revision, even if the content is the same"
    );

    let late = store.replace(&request.key, &first, &record, MINUTE).await;
    assert_eq!(
        late.expect("the call succeeds"),
        None,
        "`replace` with an outdated revision returns None"
    );
    let late = store.forget(&request.key, &first).await;
    assert!(
        !late.expect("the call succeeds"),
        "`forget` with an outdated revision returns false"
    );
    let found = find(&repository, &request)
        .await
        .expect("the record is stored");
    assert_eq!(
        found.revision, second,
        "a call with an outdated revision must not change the record"
    );

    let forgotten = store.forget(&request.key, &second).await;
    assert!(
        forgotten.expect("the call succeeds"),
        "`forget` with the current revision returns true"
    );
    assert_eq!(
        find(&repository, &request).await,
        None,
        "`forget` with the current revision removes the record"
    );
    let late = store.replace(&request.key, &second, &record, MINUTE).await;
    assert_eq!(
        late.expect("the call succeeds"),
        None,
        "`replace` of a removed record returns None"
    );
    let late = store.forget(&request.key, &second).await;
    assert!(
        !late.expect("the call succeeds"),
        "`forget` of a removed record returns false"
    );
    assert_eq!(
        find(&repository, &request).await,
        None,
        "`replace` must not restore a removed record"
    );
}

/// If several callers replace an idempotency record at the same time, exactly one of them succeeds.
pub async fn exactly_one_of_many_concurrent_changes_of_an_idempotency_record_succeeds<
    H: Harness,
>(
    harness: &H,
) {
    let repository = harness.repository();
    let store = repository.idempotency();
    for _ in 0..20 {
        let request = request("body");
        let record = running(&request, &SessionToken::generate(), repository.now());
        let seen = begin(&repository, &request, &record).await;
        let changes = (0..8).map(|number| {
            let (key, seen, record) = (&request.key, &seen, &record);
            async move {
                if number % 2 == 0 {
                    let replaced = store.replace(key, seen, record, MINUTE).await;
                    replaced.expect("the call succeeds").is_some()
                } else {
                    store.forget(key, seen).await.expect("the call succeeds")
                }
            }
        });
        let changed = join_all(changes).await;
        assert_eq!(
            changed.iter().filter(|changed| **changed).count(),
            1,
            "exactly one of many concurrent changes with the same revision succeeds"
        );
    }
}

/// An idempotency record expires after its lifetime. A replacement begins a new lifetime.
pub async fn idempotency_record_expires_after_its_lifetime<H: Harness>(harness: &H) {
    let repository = harness.repository();
    let (store, request) = (repository.idempotency(), request("body"));
    let record = running(&request, &SessionToken::generate(), repository.now());
    let ttl = Duration::from_secs(2);
    let begun = store.begin(&request.key, &record, ttl).await;
    let BeginOutcome::Begun(seen) = begun.expect("the call succeeds") else {
        panic!("another request has the same key");
    };
    harness.pass(Duration::from_secs(1)).await;
    let replaced = store.replace(&request.key, &seen, &record, ttl).await;
    let seen = replaced
        .expect("the call succeeds")
        .expect("the record has not changed since the revision");
    harness.pass(Duration::from_millis(1_250)).await;
    assert!(
        find(&repository, &request).await.is_some(),
        "`replace` begins a new lifetime of the record"
    );
    harness.pass(Duration::from_secs(1)).await;
    assert_eq!(
        find(&repository, &request).await,
        None,
        "a record expires after its lifetime"
    );
    let late = store.replace(&request.key, &seen, &record, ttl).await;
    assert_eq!(
        late.expect("the call succeeds"),
        None,
        "`replace` of an expired record returns None"
    );
}
