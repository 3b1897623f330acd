//! Tests of the session manager with a store in memory, in addition to the contract suite.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use rstest::rstest;
use tee_session_domain::{
    AtLimit, BaseUrl, Cookies, EntityTag, Login, NewSession, RepositoryError, SessionAttributes,
    SessionError, SessionManager, SessionPatch, SessionPolicy, SessionRepository, SessionToken,
    SubjectLimit, TokenFormat, UpdateError,
};
use tee_session_memory_adapter::MemoryRepository;

const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

type Sessions = SessionManager<MemoryRepository>;

fn policy() -> SessionPolicy {
    SessionPolicy::new(IDLE_TIMEOUT, None).unwrap()
}

fn create_manager() -> Sessions {
    SessionManager::new(MemoryRepository::default(), policy())
}

fn login_of(subject: Option<&str>) -> Login {
    let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).unwrap();
    Login {
        attributes: subject
            .map(|subject| SessionAttributes::of_subject(subject.parse().unwrap()))
            .unwrap_or_default(),
        ..Login::new(cookies, BaseUrl::new("https://golf.example").unwrap())
    }
}

async fn create_session(sessions: &Sessions) -> NewSession {
    sessions.store_login(login_of(None)).await.unwrap()
}

fn advance_clock(sessions: &Sessions, duration: Duration) {
    let repository = sessions.repository();
    repository.clock().set(repository.now() + duration);
}

fn is_unavailable<T>(result: &Result<T, SessionError>) -> bool {
    matches!(
        result,
        Err(SessionError::Repository(
            RepositoryError::Unavailable { .. }
        ))
    )
}

#[tokio::test]
async fn get_without_touch_returns_the_session_and_does_not_renew_its_idle_timeout() {
    let sessions = create_manager();
    let new = create_session(&sessions).await;
    advance_clock(&sessions, IDLE_TIMEOUT - MINUTE * 10);
    let found = sessions.get_without_touch(&new.token).await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.session, new.session);
    assert!((found.expires_at - new.expires_at).abs() < MINUTE);
    advance_clock(&sessions, MINUTE * 10);
    let found = sessions.get_without_touch(&new.token).await.unwrap();
    assert_eq!(found, None);
}

#[rstest]
#[case::uuid(TokenFormat::Uuid, 36)]
#[case::opaque(TokenFormat::Opaque, 43)]
#[tokio::test]
async fn new_and_rotated_tokens_have_the_configured_format(
    #[case] format: TokenFormat,
    #[case] len: usize,
) {
    let sessions = create_manager().with_token_format(format);
    let new = create_session(&sessions).await;
    assert_eq!(new.token.expose_secret().len(), len);
    let rotated = sessions.rotate(&new.token).await.unwrap();
    assert_eq!(rotated.token.expose_secret().len(), len);
}

#[tokio::test]
async fn session_managers_that_share_a_touch_table_renew_the_ttl_once_per_touch_interval() {
    let policy = policy().with_touch_interval(MINUTE * 10).unwrap();
    let touches = policy.recent_touches().map(Arc::new);
    let repository = MemoryRepository::default();
    let manager =
        || SessionManager::new(repository.clone(), policy).with_recent_touches(touches.clone());
    let (one, other) = (manager(), manager());
    assert_eq!(one.policy(), policy);
    let new = create_session(&one).await;
    let remaining = async || {
        let loaded = repository.load_with_ttl(&new.token).await.unwrap();
        loaded.unwrap().remaining.unwrap()
    };
    one.get(&new.token).await.unwrap();
    advance_clock(&one, MINUTE * 5);
    let before = remaining().await;
    other.get(&new.token).await.unwrap();
    assert!(remaining().await <= before, "the TTL was renewed again");
    advance_clock(&one, MINUTE * 5);
    other.get(&new.token).await.unwrap();
    assert!(remaining().await > before);
}

#[tokio::test]
async fn update_of_a_loaded_session_loads_it_again_if_it_has_changed() {
    let sessions = create_manager();
    let new = create_session(&sessions).await;
    let seen = EntityTag::of(&new.token, &new.session);
    let loaded = sessions.load_for_update(&new.token).await.unwrap();
    let patch = |name: &str| SessionPatch::default().set_cookie(name, "1");
    let (first, second, third) = (patch("first"), patch("second"), patch("third"));
    let updated = sessions.update(&new.token, &first, |tag| tag == seen).await;
    updated.unwrap();

    let updated = sessions.update_loaded(&new.token, loaded, &second, |_| true);
    let updated = updated.await.unwrap().session;
    assert_eq!(updated.cookies.get("first"), Some("1"));
    assert_eq!(updated.cookies.get("second"), Some("1"));

    let loaded = sessions.load_for_update(&new.token).await.unwrap();
    let updated = sessions.update_loaded(&new.token, loaded, &third, |tag| tag == seen);
    assert!(matches!(
        updated.await,
        Err(UpdateError::PreconditionFailed)
    ));
    let read = sessions.get(&new.token).await.unwrap().session;
    assert_eq!(read.cookies.get("third"), None);
}

#[tokio::test]
async fn update_returns_the_end_of_the_renewed_idle_timeout() {
    let sessions = create_manager();
    let new = create_session(&sessions).await;
    advance_clock(&sessions, MINUTE * 30);
    let patch = SessionPatch::default().set_cookie("a", "1");
    let updated = sessions.update(&new.token, &patch, |_| true).await.unwrap();
    let renewed_by = updated.expires_at - new.expires_at;
    assert!((renewed_by - MINUTE * 30).abs() < MINUTE, "{renewed_by}");
}

#[tokio::test]
async fn creation_at_the_session_limit_fails_and_evicts_nothing_if_the_caller_no_longer_wants_it() {
    let limit = SubjectLimit {
        max: NonZeroUsize::MIN,
        when_reached: AtLimit::EvictOldest,
    };
    let policy = policy().with_subject_limit(Some(limit));
    let sessions = SessionManager::new(MemoryRepository::default(), policy);
    // Below the limit, the function `is_wanted` is not called.
    let first = sessions.store_login_while(login_of(Some("alice")), || false);
    let first = first.await.unwrap();
    let second = sessions.store_login_while(login_of(Some("alice")), || false);
    assert!(is_unavailable(&second.await));
    assert!(sessions.exists(&first.token).await.unwrap());
    assert_eq!(sessions.repository().session_count(), 1);
    let third = sessions.store_login_while(login_of(Some("alice")), || true);
    third.await.unwrap();
    assert!(!sessions.exists(&first.token).await.unwrap());
}

#[tokio::test]
async fn rotation_fails_and_keeps_the_old_token_valid_if_the_caller_forbids_the_move() {
    let sessions = create_manager();
    let new = sessions.store_login(login_of(Some("alice"))).await.unwrap();
    let rotated = sessions.rotate_while(&new.token, || false).await;
    assert!(is_unavailable(&rotated));
    assert!(sessions.exists(&new.token).await.unwrap());
    let listed = sessions.list(&"alice".parse().unwrap(), None, 10).await;
    assert_eq!(listed.unwrap().sessions.len(), 1);
}

#[tokio::test]
async fn session_whose_token_was_not_delivered_is_removed() {
    let sessions = create_manager();
    let new = sessions.store_login(login_of(Some("alice"))).await.unwrap();
    sessions.discard_undelivered(&new).await;
    assert!(!sessions.exists(&new.token).await.unwrap());
    let listed = sessions.list(&"alice".parse().unwrap(), None, 10).await;
    assert!(listed.unwrap().sessions.is_empty());
}

#[tokio::test]
async fn list_returns_the_last_access_and_the_end_of_a_session() {
    let sessions = create_manager();
    let new = sessions.store_login(login_of(Some("alice"))).await.unwrap();
    advance_clock(&sessions, MINUTE * 20);
    let active = sessions.get(&new.token).await.unwrap();
    advance_clock(&sessions, MINUTE * 10);
    let page = sessions.list(&"alice".parse().unwrap(), None, 10).await;
    let page = page.unwrap();
    let listed = &page.sessions[0];
    let is_near =
        |one: time::OffsetDateTime, other: time::OffsetDateTime| (one - other).abs() < MINUTE;
    assert!(is_near(listed.created_at, new.session.created_at));
    assert!(is_near(
        listed.last_seen,
        new.session.created_at + MINUTE * 20
    ));
    assert!(is_near(listed.expires_at, active.expires_at));
}

#[test]
fn memory_store_reports_that_it_is_not_partitioned_and_that_sessions_must_not_be_cached() {
    let repository = MemoryRepository::default();
    assert!(!repository.is_partitioned());
    assert_eq!(repository.instance(), None);
    assert!(repository.store_keys(&SessionToken::generate()).is_empty());
}
