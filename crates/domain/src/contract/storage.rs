//! Creating and reading back.

use std::time::Duration;

use super::{Harness, base_url, cookies, manager, stored};
use crate::{
    InsertOutcome, RepositoryError, Session, SessionError, SessionId, SessionPatch,
    SessionRepository, SessionToken, UpdateError,
};

/// What was stored comes back equal, whichever way it is read.
pub async fn a_session_is_read_back_as_it_was_stored<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = stored(&sessions).await;
    let active = sessions
        .get(&new.token)
        .await
        .expect("the session is there");
    assert_eq!(active.session, new.session);
    let peeked = harness
        .repository()
        .peek(&new.token)
        .await
        .expect("the store answers");
    assert_eq!(peeked.expect("the session is there").session, new.session);
    assert!(
        sessions
            .exists(&new.token)
            .await
            .expect("the store answers")
    );
}

/// Values are kept byte for byte, whatever a format might take for a separator or an escape.
pub async fn unicode_and_semicolons_in_cookie_values_survive<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let given = cookies([
        ("semicolon", "a=b; Path=/; HttpOnly"),
        ("unicode", "grün ⛳ 日本語 \u{10FFFF}"),
        ("quotes", r#"{"json": "\\\"\u0041"}"#),
        ("percent", "%00%0d%0a"),
        ("empty", ""),
    ]);
    let new = sessions
        .store(given.clone(), base_url())
        .await
        .expect("the store takes it");
    let active = sessions
        .get(&new.token)
        .await
        .expect("the session is there");
    let kept: Vec<_> = active.session.cookies.iter().collect();
    assert_eq!(kept, given.iter().collect::<Vec<_>>());
}

/// Unknown is an answer, not an error of the repository.
pub async fn an_unknown_token_finds_nothing<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let token = SessionToken::generate();
    assert!(matches!(
        sessions.get(&token).await,
        Err(SessionError::NotFound)
    ));
    assert!(!sessions.exists(&token).await.expect("the store answers"));
    assert_eq!(sessions.ttl(&token).await.expect("the store answers"), None);
}

/// A token names one session for ever.
pub async fn a_second_insert_under_one_token_changes_nothing<H: Harness>(harness: &H) {
    let repository = harness.repository();
    let token = SessionToken::generate();
    let session = |value| Session {
        cookies: cookies([("a", value)]),
        base_url: base_url(),
        created_at: repository.now(),
        absolute_end: None,
        subject: None,
        label: None,
    };
    let (first, second) = (session("first"), session("second"));
    let minute = Duration::from_secs(60);
    let inserted = repository
        .insert(&token, &first, minute)
        .await
        .expect("the store answers");
    assert_eq!(inserted, InsertOutcome::Inserted);
    let again = repository
        .insert(&token, &second, minute)
        .await
        .expect("the store answers");
    assert_eq!(again, InsertOutcome::TokenTaken);
    let found = repository
        .fetch_and_slide(&token, minute)
        .await
        .expect("the store answers");
    assert_eq!(found, Some(first));
}

/// A store that is away is an error of its own, in each operation.
pub async fn unavailable_is_not_not_found<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = stored(&sessions).await;
    if !harness.lose_store().await {
        harness
            .repository()
            .ping()
            .await
            .expect("an embedded store always serves");
        sessions
            .get(&new.token)
            .await
            .expect("an embedded store keeps its sessions");
        return;
    }
    let unavailable = |error: &SessionError| {
        matches!(
            error,
            SessionError::Repository(RepositoryError::Unavailable { .. })
        )
    };
    let token = &new.token;
    assert!(
        sessions
            .get(token)
            .await
            .is_err_and(|error| unavailable(&error))
    );
    assert!(
        sessions
            .exists(token)
            .await
            .is_err_and(|error| unavailable(&error))
    );
    assert!(
        sessions
            .ttl(token)
            .await
            .is_err_and(|error| unavailable(&error))
    );
    assert!(
        sessions
            .delete(token)
            .await
            .is_err_and(|error| unavailable(&error))
    );
    assert!(
        sessions
            .rotate(token)
            .await
            .is_err_and(|error| unavailable(&error))
    );
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(token, &patch, |_| true).await;
    assert!(
        updated.is_err_and(|error| matches!(error, UpdateError::Session(e) if unavailable(&e)))
    );
    let subject = "member".parse().expect("a sound subject");
    let listed = sessions.list(&subject, None, 10).await;
    assert!(listed.is_err_and(|error| unavailable(&error)));
    let revoked = sessions.revoke_all(&subject).await;
    assert!(revoked.is_err_and(|error| unavailable(&error)));
    let revoked = sessions.revoke(SessionId::of(token)).await;
    assert!(revoked.is_err_and(|error| unavailable(&error)));
    let store = sessions.store(cookies([("a", "1")]), base_url()).await;
    assert!(store.is_err_and(|error| unavailable(&error)));
    assert!(harness.repository().ping().await.is_err());
}
