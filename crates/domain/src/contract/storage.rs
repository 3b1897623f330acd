//! Contract tests of storing and loading sessions.

use std::time::Duration;

use super::{Harness, base_url, cookies, manager, store_session_with_label};
use crate::{
    InsertOutcome, Session, SessionAttributes, SessionError, SessionRepository, SessionToken,
};

/// Every operation that returns a session returns the stored session unchanged.
pub async fn stored_session_is_read_back_unchanged<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session_with_label(&sessions, "telephone").await;
    let active = sessions
        .get(&new.token)
        .await
        .expect("the session is there");
    assert_eq!(active.session, new.session);
    let loaded = harness
        .repository()
        .load_with_ttl(&new.token)
        .await
        .expect("the store answers");
    assert_eq!(loaded.expect("the session is there").session, new.session);
    assert!(
        sessions
            .exists(&new.token)
            .await
            .expect("the store answers")
    );
}

/// Cookie values are stored byte for byte, even if they contain characters that have a special
/// meaning in a storage format.
pub async fn cookie_values_with_unicode_and_separators_are_kept<H: Harness>(harness: &H) {
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
        .expect("the store accepts it");
    let active = sessions
        .get(&new.token)
        .await
        .expect("the session is there");
    let kept: Vec<_> = active.session.cookies.iter().collect();
    assert_eq!(kept, given.iter().collect::<Vec<_>>());
}

/// For an unknown token, every operation reports a missing session, not an error of the repository.
pub async fn unknown_token_finds_no_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let token = SessionToken::generate();
    assert!(matches!(
        sessions.get(&token).await,
        Err(SessionError::NotFound)
    ));
    assert!(!sessions.exists(&token).await.expect("the store answers"));
    assert_eq!(sessions.ttl(&token).await.expect("the store answers"), None);
}

/// A token belongs to one session. A second insert under the same token is rejected with
/// `TokenTaken` and does not change the first session.
pub async fn second_insert_under_the_same_token_is_rejected<H: Harness>(harness: &H) {
    let repository = harness.repository();
    let token = SessionToken::generate();
    let session = |value| Session {
        cookies: cookies([("a", value)]),
        base_url: base_url(),
        created_at: repository.now(),
        absolute_end: None,
        attributes: SessionAttributes::default(),
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
        .load_and_touch(&token, minute)
        .await
        .expect("the store answers");
    assert_eq!(found, Some(first));
}
