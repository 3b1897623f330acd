//! Tests of the session lifecycle events that a session manager reports to its observer.

use std::{cell::RefCell, num::NonZeroUsize, time::Duration};

use tee_session_domain::{
    AtLimit, BaseUrl, Cookies, EndReason, Login, NewSession, SessionEvent, SessionId,
    SessionManager, SessionPolicy, SessionRepository, SubjectLimit,
};
use tee_session_memory_adapter::MemoryRepository;

const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
const LIFETIME: Duration = Duration::from_secs(15);

thread_local! {
    static EVENTS: RefCell<Vec<(SessionEvent, usize)>> = const { RefCell::new(Vec::new()) };
}

/// Returns the events that were reported since the last call of this function, each with the number
/// of sessions that the event concerns.
fn take_events() -> Vec<(SessionEvent, usize)> {
    EVENTS.take()
}

fn ended_event(reason: EndReason) -> (SessionEvent, usize) {
    (SessionEvent::Ended(reason), 1)
}

const CREATED: (SessionEvent, usize) = (SessionEvent::Created, 1);

fn create_manager() -> SessionManager<MemoryRepository> {
    let limit = SubjectLimit {
        max: NonZeroUsize::new(2).unwrap(),
        when_reached: AtLimit::EvictOldest,
    };
    let policy = SessionPolicy::new(IDLE_TIMEOUT, Some(LIFETIME)).unwrap();
    let policy = policy.with_subject_limit(Some(limit));
    SessionManager::new(MemoryRepository::default(), policy).with_observer(|event, sessions| {
        EVENTS.with_borrow_mut(|events| events.push((event, sessions)));
    })
}

fn create_login() -> Login {
    let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).unwrap();
    Login::new(cookies, BaseUrl::new("https://golf.example").unwrap())
}

async fn create_session_of_alice(sessions: &SessionManager<MemoryRepository>) -> NewSession {
    let mut login = create_login();
    login.attributes.subject = Some("alice".parse().unwrap());
    sessions.store_login(login).await.unwrap()
}

fn advance_clock(sessions: &SessionManager<MemoryRepository>, duration: Duration) {
    let repository = sessions.repository();
    repository.clock().set(repository.now() + duration);
}

#[tokio::test]
async fn deleting_a_session_twice_reports_one_deleted_event() {
    let sessions = create_manager();
    let token = sessions.store_login(create_login()).await.unwrap().token;
    assert_eq!(take_events(), [CREATED]);
    assert!(sessions.delete(&token).await.unwrap());
    assert!(!sessions.delete(&token).await.unwrap());
    assert_eq!(take_events(), [ended_event(EndReason::Deleted)]);
}

#[tokio::test]
async fn rotation_reports_a_rotated_event_and_no_ended_event() {
    let sessions = create_manager();
    let token = sessions.store_login(create_login()).await.unwrap().token;
    sessions.rotate(&token).await.unwrap();
    assert_eq!(take_events(), [CREATED, (SessionEvent::Rotated, 1)]);
}

#[tokio::test]
async fn events_for_revoked_and_evicted_sessions_have_different_end_reasons() {
    let sessions = create_manager();
    for _ in 0..2 {
        create_session_of_alice(&sessions).await;
        advance_clock(&sessions, Duration::from_millis(1));
    }
    assert_eq!(take_events(), [CREATED, CREATED]);
    let third = create_session_of_alice(&sessions).await;
    assert_eq!(take_events(), [ended_event(EndReason::Evicted), CREATED]);
    let id = SessionId::of(&third.token);
    assert!(sessions.revoke(id).await.unwrap());
    assert!(!sessions.revoke(id).await.unwrap());
    assert_eq!(take_events(), [ended_event(EndReason::Revoked)]);
    let subject = "alice".parse().unwrap();
    assert_eq!(sessions.revoke_all(&subject).await.unwrap(), 1);
    let revoked: usize = take_events().iter().map(|(_, sessions)| sessions).sum();
    assert_eq!(revoked, 1);
}

#[tokio::test]
async fn expired_event_is_reported_after_the_absolute_lifetime_but_not_after_the_idle_timeout() {
    let sessions = create_manager();
    let touched = sessions.store_login(create_login()).await.unwrap().token;
    let idle = sessions.store_login(create_login()).await.unwrap().token;
    advance_clock(&sessions, Duration::from_secs(8));
    sessions.get(&touched).await.unwrap();
    assert_eq!(take_events(), [CREATED, CREATED]);
    advance_clock(&sessions, Duration::from_secs(8));
    assert!(sessions.get(&touched).await.is_err());
    assert!(sessions.get(&idle).await.is_err());
    assert_eq!(take_events(), [ended_event(EndReason::Expired)]);
}
