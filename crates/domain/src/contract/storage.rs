//! Contract tests of storing and loading sessions.

use std::time::Duration;

use super::{Harness, base_url, cookies, manager, store_session_with_label};
use crate::{
    Cookies, InsertOutcome, Session, SessionAttributes, SessionError, SessionPatch,
    SessionRepository, SessionToken,
};

/// Every operation that returns a session returns the stored session unchanged.
pub async fn stored_session_is_read_back_unchanged<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = store_session_with_label(&sessions, "telephone").await;
    let active = sessions.get(&new.token).await.expect("the session is live");
    assert_eq!(
        active.session, new.session,
        "`get` returns the session as it was stored"
    );
    let loaded = harness
        .repository()
        .load_with_ttl(&new.token)
        .await
        .expect("the call succeeds");
    assert_eq!(
        loaded.expect("the session is live").session,
        new.session,
        "`load_with_ttl` returns the session as it was stored"
    );
    assert!(
        sessions
            .exists(&new.token)
            .await
            .expect("the call succeeds"),
        "a stored session exists"
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
        .expect("the store accepts a session");
    let active = sessions.get(&new.token).await.expect("the session is live");
    let kept: Vec<_> = active.session.cookies.iter().collect();
    assert_eq!(
        kept,
        given.iter().collect::<Vec<_>>(),
        "cookies are kept byte for byte and in their order"
    );
}

/// Unusual cookies that cookie jars can contain are stored byte for byte: cookies with separators
/// in the name, without a name, without a value, and with control characters that browsers accept.
pub async fn cookies_that_jars_hold_are_kept<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let given = [
        ("gdpr[allowed_cookies]", Some("1")),
        ("my cookie", None),
        ("user:id/@{(,)}", Some("")),
        ("", Some("nameless")),
        ("tab", Some("a\tb\u{80}\u{9f}")),
        ("gr\u{f6}\u{df}e\u{85}", Some("42")),
    ];
    let given = given.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
    let given = Cookies::new(given).expect("valid cookies");
    let new = sessions.store(given.clone(), base_url()).await;
    let token = new.expect("the store accepts a session").token;
    let active = sessions.get(&token).await.expect("the session is live");
    assert_eq!(
        active.session.cookies, given,
        "cookies are kept byte for byte and in their order"
    );
    let rotated = sessions.rotate(&token).await.expect("the session is live");
    assert_eq!(
        rotated.session.cookies, given,
        "a rotation keeps cookies byte for byte and in their order"
    );
}

/// A session may have no cookies, before and after an update.
pub async fn session_without_cookies_is_kept<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let new = sessions.store(Cookies::default(), base_url()).await;
    let token = new.expect("the store accepts a session").token;
    for patch in [
        SessionPatch::default().set_cookie("a", "1"),
        SessionPatch::default().remove_cookie("a"),
    ] {
        let updated = sessions.update(&token, &patch, |_| true).await;
        updated.expect("the session is live");
    }
    let active = sessions.get(&token).await.expect("the session is live");
    assert!(
        active.session.cookies.is_empty(),
        "a session may have no cookies"
    );
}

/// For an unknown token, every operation reports a missing session, not an error of the repository.
pub async fn unknown_token_finds_no_session<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let token = SessionToken::generate();
    assert!(
        matches!(sessions.get(&token).await, Err(SessionError::NotFound)),
        "`get` of an unknown token returns NotFound"
    );
    assert!(
        !sessions.exists(&token).await.expect("the call succeeds"),
        "`exists` of an unknown token returns false"
    );
    assert_eq!(
        sessions.ttl(&token).await.expect("the call succeeds"),
        None,
        "`ttl` of an unknown token returns None"
    );
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
        .expect("the call succeeds");
    assert_eq!(
        inserted,
        InsertOutcome::Inserted,
        "the first insert under a token stores the session"
    );
    let again = repository
        .insert(&token, &second, minute)
        .await
        .expect("the call succeeds");
    assert_eq!(
        again,
        InsertOutcome::TokenTaken,
        "an insert under a token with a record returns TokenTaken"
    );
    let found = repository
        .load_and_touch(&token, minute)
        .await
        .expect("the call succeeds");
    assert_eq!(
        found,
        Some(first),
        "an insert that returns TokenTaken leaves the stored session unchanged"
    );
}
