//! What a manager tells its observer.

use std::{cell::RefCell, num::NonZeroUsize, time::Duration};

use tee_session_domain::{
    BaseUrl, Cookies, EndReason, Login, NewSession, SessionEvent, SessionId, SessionManager,
    SessionPolicy, SessionRepository, SubjectLimit, WhenReached,
};
use tee_session_memory_adapter::MemoryRepository;

const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
const LIFETIME: Duration = Duration::from_secs(15);

thread_local! {
    static TOLD: RefCell<Vec<(SessionEvent, usize)>> = const { RefCell::new(Vec::new()) };
}

/// What was told since the last time.
fn told() -> Vec<(SessionEvent, usize)> {
    TOLD.take()
}

fn ended(reason: EndReason) -> (SessionEvent, usize) {
    (SessionEvent::Ended(reason), 1)
}

const CREATED: (SessionEvent, usize) = (SessionEvent::Created, 1);

fn manager() -> SessionManager<MemoryRepository> {
    let limit = SubjectLimit {
        max: NonZeroUsize::new(2).unwrap(),
        when_reached: WhenReached::EvictOldest,
    };
    let policy = SessionPolicy::new(IDLE_TIMEOUT, Some(LIFETIME)).unwrap();
    let policy = policy.with_subject_limit(Some(limit));
    SessionManager::new(MemoryRepository::default(), policy)
        .with_observer(|event, sessions| TOLD.with_borrow_mut(|told| told.push((event, sessions))))
}

fn login() -> Login {
    let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())]).unwrap();
    Login::new(cookies, BaseUrl::new("https://golf.example").unwrap())
}

async fn log_in_alice(sessions: &SessionManager<MemoryRepository>) -> NewSession {
    let mut login = login();
    login.subject = Some("alice".parse().unwrap());
    sessions.store_login(login).await.unwrap()
}

fn pass(sessions: &SessionManager<MemoryRepository>, duration: Duration) {
    let repository = sessions.repository();
    repository.clock().set(repository.now() + duration);
}

#[tokio::test]
async fn a_deletion_is_told_once() {
    let sessions = manager();
    let token = sessions.store_login(login()).await.unwrap().token;
    assert_eq!(told(), [CREATED]);
    assert!(sessions.delete(&token).await.unwrap());
    assert!(!sessions.delete(&token).await.unwrap());
    assert_eq!(told(), [ended(EndReason::Deleted)]);
}

#[tokio::test]
async fn a_rotated_session_has_not_ended() {
    let sessions = manager();
    let token = sessions.store_login(login()).await.unwrap().token;
    sessions.rotate(&token).await.unwrap();
    assert_eq!(told(), [CREATED, (SessionEvent::Rotated, 1)]);
}

#[tokio::test]
async fn revocations_and_evictions_are_told_apart() {
    let sessions = manager();
    for _ in 0..2 {
        log_in_alice(&sessions).await;
        pass(&sessions, Duration::from_millis(1));
    }
    assert_eq!(told(), [CREATED, CREATED]);
    let third = log_in_alice(&sessions).await;
    assert_eq!(told(), [ended(EndReason::Evicted), CREATED]);
    let id = SessionId::of(&third.token);
    assert!(sessions.revoke(id).await.unwrap());
    assert!(!sessions.revoke(id).await.unwrap());
    assert_eq!(told(), [ended(EndReason::Revoked)]);
    let subject = "alice".parse().unwrap();
    assert_eq!(sessions.revoke_all(&subject).await.unwrap(), 1);
    let revoked: usize = told().iter().map(|(_, sessions)| sessions).sum();
    assert_eq!(revoked, 1);
}

#[tokio::test]
async fn a_session_that_is_found_past_its_lifetime_has_expired_and_one_that_idled_out_is_not_told()
{
    let sessions = manager();
    let slid = sessions.store_login(login()).await.unwrap().token;
    let idle = sessions.store_login(login()).await.unwrap().token;
    pass(&sessions, Duration::from_secs(8));
    sessions.get(&slid).await.unwrap();
    assert_eq!(told(), [CREATED, CREATED]);
    pass(&sessions, Duration::from_secs(8));
    assert!(sessions.get(&slid).await.is_err());
    assert!(sessions.get(&idle).await.is_err());
    assert_eq!(told(), [ended(EndReason::Expired)]);
}
