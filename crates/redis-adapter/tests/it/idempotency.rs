//! Tests of requests with an `Idempotency-Key` on Redis: lost replies, concurrent changes, and a
//! cluster. In a cluster, the idempotency record, the old session and the new session may be on
//! three servers.

use std::{num::NonZeroUsize, time::Duration};

use rstest::rstest;
use tee_session_domain::{
    AtLimit, IdempotencyKey, IdempotentRequest, InsertOutcome, Login, MoveOutcome, RepositoryError,
    Session, SessionError, SessionId, SessionManager, SessionPatch, SessionPolicy,
    SessionRepository, SessionToken, SubjectLimit, VersionedSession,
};
use tee_session_test_support::{Fault, FaultProxy, RedisCluster, RedisProcess, eventually};
use tokio::{runtime::Handle, task::block_in_place};

use crate::{
    Sessions, base_url,
    cluster::{RECOVERED_WITHIN, connect_to_cluster, one_session_per_primary},
    connect_with, cookies,
    modes::{Mode, all_keys, login_of, store_session_of},
    sealed_key, sessions, sessions_with, settings,
};

const TTL: Duration = Duration::from_secs(900);

/// Lease of an operation that a test abandons on purpose. A rotation moves the session to its new
/// token only in the first half of the lease, so the lease must not be too short for a busy
/// machine.
const SHORT_LEASE: Duration = Duration::from_secs(2);

fn request() -> IdempotentRequest {
    let header = SessionToken::generate();
    let header = header.expose_secret().as_bytes();
    let key = IdempotencyKey::derive("test", b"credential", header);
    IdempotentRequest {
        fingerprint: key.fingerprint(b"body"),
        key,
        lease: Duration::from_secs(60),
    }
}

fn request_with_short_lease() -> IdempotentRequest {
    IdempotentRequest {
        lease: SHORT_LEASE,
        ..request()
    }
}

fn login() -> Login {
    Login::new(cookies(), base_url())
}

/// Runs `future` to completion within a synchronous closure.
fn run<T>(future: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(future))
}

fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, SessionError>) {
    match result {
        Err(SessionError::Repository(RepositoryError::Unavailable { .. })) => {}
        other => panic!("{other:?}"),
    }
}

/// Repeats a rotation until the lease of the unfinished rotation has ended, and returns the new
/// token.
async fn repeat_rotation(
    sessions: &Sessions,
    token: &SessionToken,
    request: &IdempotentRequest,
) -> SessionToken {
    let mut rotated = None;
    eventually(RECOVERED_WITHIN, async || {
        match sessions.rotate_once(token, request, || true).await {
            Ok(session) => rotated = Some(session.token),
            Err(SessionError::NotFound) => panic!("the session was lost"),
            Err(_) => {}
        }
        rotated.is_some()
    })
    .await;
    rotated.unwrap()
}

async fn assert_moved(sessions: &Sessions, old: &SessionToken, new: &SessionToken) {
    sessions.get(new).await.unwrap();
    let ended = sessions.get(old).await;
    assert!(matches!(ended, Err(SessionError::NotFound)), "{ended:?}");
}

/// Redis stores an idempotency record, but its reply is lost, so the request fails. The service
/// removes the record again. A repetition then need not wait for the end of the lease.
#[tokio::test]
async fn idempotency_record_is_removed_after_a_lost_reply_so_a_repetition_begins_at_once() {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let settings = settings(&format!("redis://{}", proxy.address()))
        .with_command_timeout(Duration::from_millis(250));
    let sessions = sessions_with(&settings).await;
    let request = request();
    proxy.set(Fault::SwallowAnswers);
    assert_unavailable(sessions.store_login_once(&request, login(), || true).await);
    proxy.set(Fault::None);
    eventually(RECOVERED_WITHIN, async || {
        let created = sessions.store_login_once(&request, login(), || true).await;
        // Until the record is removed, the repetition waits for the lease, which is 60 s.
        created.is_ok_and(|created| !created.is_replay)
    })
    .await;
}

/// Redis rejects the command that stores the result of a creation or rotation with an
/// `Idempotency-Key`. The call must fail without returning the token. When Redis accepts the
/// command again, a repetition returns the token.
#[rstest]
#[case::create(false)]
#[case::rotate(true)]
#[tokio::test(flavor = "multi_thread")]
async fn idempotent_call_returns_its_token_only_after_its_result_is_stored(#[case] rotates: bool) {
    let redis = RedisProcess::start().await;
    let repository = connect_with(&settings(&redis.url())).await;
    let limit = SubjectLimit {
        max: NonZeroUsize::MIN,
        when_reached: AtLimit::EvictOldest,
    };
    let policy = SessionPolicy::default().with_subject_limit(Some(limit));
    let sessions = SessionManager::new(repository, policy);
    let kept = store_session_of(&sessions, "member").await;
    let request = request_with_short_lease();
    let admin = redis.admin().await;
    // The names of idempotency records match none of these patterns.
    let patterns = [
        format!("session:{}", "?".repeat(22)),
        "session:{*".to_owned(),
    ];
    let deny = || {
        run(async {
            let patterns = patterns.each_ref().map(|pattern| format!("~{pattern}"));
            let command = ["ACL", "SETUSER", "default", "resetkeys"];
            let command: Vec<&str> = command
                .into_iter()
                .chain(patterns.iter().map(String::as_str))
                .collect();
            admin.send(&command).await;
        });
        true
    };
    let call = async |deny: &dyn Fn() -> bool| {
        if rotates {
            sessions.rotate_once(&kept.token, &request, deny).await
        } else {
            let login = login_of("member");
            sessions.store_login_once(&request, login, deny).await
        }
    };
    let refused = call(&deny).await;
    assert!(
        matches!(
            refused,
            Err(SessionError::Repository(
                RepositoryError::Misconfigured { .. }
            ))
        ),
        "{refused:?}"
    );
    admin.send(&["ACL", "SETUSER", "default", "allkeys"]).await;
    let mut repeated = None;
    eventually(RECOVERED_WITHIN, async || {
        repeated = call(&|| true).await.ok();
        repeated.is_some()
    })
    .await;
    let repeated = repeated.unwrap();
    assert!(repeated.is_replay);
    assert_moved(&sessions, &kept.token, &repeated.token).await;
}

/// A rotation with an `Idempotency-Key` reads the session. The session is changed before the
/// rotation moves it to the new token. The session under the new token must contain the change.
#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[case::plain_record_sealed_on_access(Mode::SealOnAccess)]
#[case::sealed_record_after_rollback(Mode::RolledBack)]
#[tokio::test(flavor = "multi_thread")]
async fn update_during_a_rotation_with_an_idempotency_key_is_kept(#[case] mode: Mode) {
    let redis = RedisProcess::start().await;
    let (writer, changer) = mode.start_both(&redis.url()).await;
    let new = writer.store(cookies(), base_url()).await.unwrap();
    rotate_during_an_update(&changer, &new.token).await;
    let keys = all_keys(&redis).await;
    let sessions = keys.iter().filter(|key| !key.contains("-once-"));
    assert_eq!(sessions.count(), 1, "{keys:?}");
}

#[rstest]
#[case::sealed(Mode::Sealed)]
#[case::plain(Mode::Plain)]
#[tokio::test(flavor = "multi_thread")]
async fn update_during_a_rotation_with_an_idempotency_key_is_kept_in_a_cluster(#[case] mode: Mode) {
    let cluster = RedisCluster::start(3, 0).await;
    let (writer, changer) = mode.start_both(&cluster.url()).await;
    for _ in 0..6 {
        let new = writer.store(cookies(), base_url()).await.unwrap();
        rotate_during_an_update(&changer, &new.token).await;
    }
}

/// Rotates a session, and updates it immediately before it is moved to the new token.
async fn rotate_during_an_update(sessions: &Sessions, token: &SessionToken) {
    let is_updated = std::cell::Cell::new(false);
    let update = || {
        if !is_updated.replace(true) {
            let patch = SessionPatch::default().set_cookie("lang", "en");
            run(sessions.update(token, &patch, |_| true)).unwrap();
        }
        true
    };
    let rotated = sessions.rotate_once(token, &request(), update).await;
    let rotated = rotated.unwrap().token;
    let read = sessions.get(&rotated).await.unwrap().session;
    assert_eq!(read.cookies.get("lang"), Some("en"));
    assert_moved(sessions, token, &rotated).await;
}

/// Two instances of the service share a Redis Cluster. The idempotency record, the old session
/// record and the new session record may be on three different servers. Each request is repeated at
/// the instance that has not handled it.
#[tokio::test]
async fn idempotent_request_repeated_at_another_instance_on_a_cluster_returns_the_same_token() {
    let cluster = RedisCluster::start(3, 0).await;
    let instances = [
        sessions(&cluster.url()).await,
        sessions(&cluster.url()).await,
    ];
    for _ in 0..12 {
        let create = request();
        let mut tokens = Vec::new();
        for sessions in &instances {
            let created = sessions.store_login_once(&create, login(), || true).await;
            tokens.push(created.unwrap().token);
        }
        assert_eq!(tokens[0], tokens[1]);
        let (old, rotate) = (tokens.remove(0), request());
        for sessions in &instances {
            let rotated = sessions.rotate_once(&old, &rotate, || true).await;
            tokens.push(rotated.unwrap().token);
        }
        assert_eq!(tokens[1], tokens[2]);
        assert_moved(&instances[0], &old, &tokens[1]).await;
    }
}

/// Rotates a session in a cluster. The server of the old record is paused before it receives the
/// command that deletes this record. It executes the command later, but the service receives no
/// reply. The session is not lost: a repetition returns the new token.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_rotation_in_a_cluster_returns_the_new_token_after_a_lost_redis_reply() {
    let cluster = RedisCluster::start(3, 0).await;
    let sessions = connect_to_cluster(&cluster).await;
    for (number, new) in one_session_per_primary(&sessions, &cluster, 3)
        .await
        .iter()
        .enumerate()
    {
        let request = request_with_short_lease();
        let pause = || {
            cluster.node(number).pause();
            true
        };
        assert_unavailable(sessions.rotate_once(&new.token, &request, pause).await);
        cluster.node(number).resume();
        let rotated = repeat_rotation(&sessions, &new.token, &request).await;
        assert_moved(&sessions, &new.token, &rotated).await;
    }
}

/// Returns the session of `token` with its revision.
async fn load_versioned(sessions: &Sessions, token: &SessionToken) -> VersionedSession {
    let found = sessions
        .repository()
        .load_for_update(token, None)
        .await
        .unwrap();
    found.expect("a live session")
}

/// Stores the record under the new token without deleting the old record, like an interrupted
/// rotation in a cluster.
async fn store_under(sessions: &Sessions, token: &SessionToken, session: &Session) {
    let inserted = sessions.repository().insert(token, session, TTL).await;
    assert_eq!(inserted.unwrap(), InsertOutcome::Inserted);
}

/// A token rotation is interrupted after it has stored the record under the new token. The session
/// is then updated under the old token, and the rotation is repeated. The new token must then
/// belong to the updated session.
#[tokio::test]
async fn repeated_move_in_a_cluster_keeps_an_update_that_followed_the_interrupted_move() {
    let cluster = RedisCluster::start(3, 0).await;
    let sessions = connect_to_cluster(&cluster).await;
    for new in one_session_per_primary(&sessions, &cluster, 3).await {
        let to = SessionToken::generate();
        store_under(&sessions, &to, &new.session).await;
        let patch = SessionPatch::default().set_cookie("lang", "en");
        sessions.update(&new.token, &patch, |_| true).await.unwrap();
        let VersionedSession { session, revision } = load_versioned(&sessions, &new.token).await;
        let moved = sessions
            .repository()
            .move_repeatably(&new.token, &revision, &to, &session, TTL);
        assert_eq!(moved.await.unwrap(), MoveOutcome::Moved);
        assert_eq!(load_versioned(&sessions, &to).await.session, session);
        assert_moved(&sessions, &new.token, &to).await;
        let was_moved = sessions.repository().was_moved(&new.token, &to).await;
        assert!(was_moved.unwrap());
    }
}

/// A token rotation is interrupted after it has stored the record under the new token. The session
/// is then ended under the old token. The new token must not become valid.
#[tokio::test]
async fn logout_after_an_interrupted_rotation_in_a_cluster_also_ends_the_new_token() {
    let cluster = RedisCluster::start(3, 0).await;
    let sessions = connect_to_cluster(&cluster).await;
    for new in one_session_per_primary(&sessions, &cluster, 3).await {
        let to = SessionToken::generate();
        let VersionedSession { session, revision } = load_versioned(&sessions, &new.token).await;
        store_under(&sessions, &to, &session).await;
        assert!(sessions.delete(&new.token).await.unwrap());
        let repository = sessions.repository();
        let moved = repository.move_repeatably(&new.token, &revision, &to, &session, TTL);
        assert_eq!(moved.await.unwrap(), MoveOutcome::Gone);
        assert!(!repository.was_moved(&new.token, &to).await.unwrap());
        assert_eq!(repository.load_with_ttl(&to).await.unwrap(), None);
    }
}

/// Each `Idempotency-Key` has a record on one server of the cluster. The server with the record of
/// the first key is down, so a request with the first key fails. The record of the second key is on
/// a running server, so a request with the second key succeeds.
#[tokio::test]
async fn request_fails_if_the_cluster_primary_of_its_idempotency_key_is_down_and_others_succeed() {
    let mut cluster = RedisCluster::start(2, 0).await;
    let sessions = connect_to_cluster(&cluster).await;
    cluster.node_mut(1).kill().await;
    let on_primary = |number| loop {
        let request = request();
        let key = format!("session:-once-{}", request.key.id());
        if cluster.primary_of(&key) == number {
            break request;
        }
    };
    let (lost, available) = (on_primary(1), on_primary(0));
    assert_unavailable(sessions.store_login_once(&lost, login(), || true).await);
    eventually(RECOVERED_WITHIN, async || {
        let created = sessions.store_login_once(&available, login(), || true);
        match created.await {
            Ok(created) => sessions.get(&created.token).await.is_ok(),
            Err(_) => false,
        }
    })
    .await;
}

/// Creates and rotates a session without an `Idempotency-Key`, and checks which commands Redis
/// received.
#[tokio::test]
async fn requests_without_an_idempotency_key_send_no_commands_for_idempotency_records() {
    let redis = RedisProcess::start().await;
    let sessions = sessions(&redis.url()).await;
    let monitor = redis.monitor().await;
    let new = sessions.store(cookies(), base_url()).await.unwrap();
    let rotated = sessions.rotate(&new.token).await.unwrap();
    let text = monitor.text().await;
    let ids = [&new.token, &rotated.token].map(|token| SessionId::of(token).to_string());
    let commands: Vec<&str> = text
        .lines()
        .filter(|line| ids.iter().any(|id| line.contains(id)))
        // Commands that a script runs are printed as well, with the source `lua`.
        .filter(|line| !line.contains(" lua]"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert_eq!(commands, ["SET", "GET", "PEXPIRE", "EVAL"]);
    assert!(!text.contains("-once-"));
    assert_eq!(all_keys(&redis).await, [sealed_key(&rotated.token)]);
}
