//! Tests of the time after which logouts and other changes on one instance take effect on all
//! instances.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rstest::rstest;
use tee_session_domain::{
    CookieUrl, SessionId, SessionPatch, SessionToken, SetCookieLines, Subject, UpdateError,
};
use tee_session_near_cache::NearCacheSettings;
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, eventually};
use tokio::{sync::RwLock, task::JoinSet, time::sleep};

use crate::{
    Instance, SOON, create_login, create_login_of, redis_settings, store_session, store_session_of,
};

const MAX_STALE: Duration = Duration::from_millis(400);

/// Number of sessions that the load test creates at its start.
const SESSIONS_AT_START: usize = 50;

/// Timeout for one phase of the load test. A phase is complete after more than 100 reads of ended
/// sessions. The instance that reads the sessions must reject these reads.
const PHASE_TIMEOUT: Duration = Duration::from_secs(20);

const LIMITS: NearCacheSettings = NearCacheSettings {
    max_stale: MAX_STALE,
    max_entries: 10_000,
    max_bytes: 16 * 1_024 * 1_024,
};

#[tokio::test]
async fn logout_takes_effect_at_once_on_the_same_instance() {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    for _ in 0..100 {
        let new = store_session(&instance.sessions).await;
        instance.warm_up(&new).await;
        assert!(instance.sessions.delete(&new.token).await.unwrap());
        assert!(instance.sessions.get(&new.token).await.is_err());
    }
}

#[tokio::test]
async fn token_of_a_session_deleted_on_one_instance_is_soon_rejected_on_another() {
    let redis = RedisProcess::start().await;
    let one = Instance::start(&redis.url()).await;
    let other = Instance::start(&redis.url()).await;
    let new = store_session(&one.sessions).await;
    one.warm_up(&new).await;
    other.warm_up(&new).await;
    assert!(one.sessions.delete(&new.token).await.unwrap());
    eventually(SOON, async || other.sessions.get(&new.token).await.is_err()).await;
}

/// Name of a cookie that counts the changes of the session.
const VERSION: &str = "version";

/// A way to end a session or to make its token invalid.
#[derive(Debug, Clone, Copy)]
enum End {
    Logout,
    Rotation,
    RevocationById,
    RevocationOfAll,
}

#[rstest]
#[case::rotation(End::Rotation)]
#[case::revocation_by_id(End::RevocationById)]
#[case::revocation_of_all(End::RevocationOfAll)]
#[tokio::test]
async fn old_token_of_a_rotated_or_revoked_session_is_soon_rejected_on_all_instances(
    #[case] end: End,
) {
    let redis = RedisProcess::start().await;
    let one = Instance::start(&redis.url()).await;
    let other = Instance::start(&redis.url()).await;
    let new = store_session_of(&one.sessions, "member").await;
    one.warm_up(&new).await;
    other.warm_up(&new).await;
    assert!(end.run(&one, &new.token, "member").await.is_ok());
    for instance in [&one, &other] {
        eventually(SOON, async || {
            instance.sessions.get(&new.token).await.is_err()
        })
        .await;
    }
}

/// A way to change the cookies of a session.
#[derive(Debug, Clone, Copy)]
enum Change {
    Update,
    Merge,
}

impl Change {
    /// Sets the cookie [`VERSION`] of the session of `token` to `version` on `instance`, by an
    /// update or by a merge.
    async fn run(
        self,
        instance: &Instance,
        token: &SessionToken,
        version: u64,
    ) -> Result<(), UpdateError> {
        let sessions = &instance.sessions;
        match self {
            Self::Update => {
                let patch = SessionPatch::default().set_cookie(VERSION, version.to_string());
                sessions.update(token, &patch, |_| true).await.map(drop)
            }
            Self::Merge => {
                let url = CookieUrl::of(&create_login().base_url).unwrap();
                let lines = SetCookieLines::new(url, [format!("{VERSION}={version}")]);
                let loaded = sessions.load_for_merge(token).await?;
                let merge = sessions.merge_loaded(token, loaded, &lines, |_| true);
                merge.await.map(drop)
            }
        }
    }
}

#[rstest]
#[case::update(Change::Update)]
#[case::merge(Change::Merge)]
#[tokio::test]
async fn session_change_is_visible_at_once_on_the_changing_instance_and_soon_on_others(
    #[case] change: Change,
) {
    let redis = RedisProcess::start().await;
    let one = Instance::start(&redis.url()).await;
    let other = Instance::start(&redis.url()).await;
    let new = store_session(&one.sessions).await;
    for version in 1..20 {
        one.warm_up(&new).await;
        other.warm_up(&new).await;
        change.run(&one, &new.token, version).await.unwrap();
        assert_eq!(read_version(&one, &new.token).await, Some(version));
        let is_seen = async || read_version(&other, &new.token).await == Some(version);
        eventually(SOON, is_seen).await;
    }
}

/// Reads the session on `instance`, and returns the number in the cookie [`VERSION`] (0 if there is
/// no such cookie). Returns `None` if the instance rejects the token.
async fn read_version(instance: &Instance, token: &SessionToken) -> Option<u64> {
    let session = instance.sessions.get(token).await.ok()?.session;
    let version = session.cookies.get(VERSION);
    Some(version.map_or(0, |text| text.parse().unwrap()))
}

impl End {
    /// Ends the session of `token`, or rotates the token. Returns the new token after a rotation,
    /// and `None` otherwise. Returns an error if it is unknown whether the session has ended.
    async fn run(
        self,
        instance: &Instance,
        token: &SessionToken,
        subject: &str,
    ) -> Result<Option<SessionToken>, ()> {
        let sessions = &instance.sessions;
        let subject: Subject = subject.parse().unwrap();
        match self {
            Self::Logout => sessions.delete(token).await.map(|_| None),
            Self::Rotation => sessions.rotate(token).await.map(|new| Some(new.token)),
            Self::RevocationById => sessions.revoke(SessionId::of(token)).await.map(|_| None),
            Self::RevocationOfAll => sessions.revoke_all(&subject).await.map(|_| None),
        }
        .map_err(|_| ())
    }
}

/// A fault in the invalidation feed of the instance that reads sessions. `None` means a feed
/// without a fault.
#[derive(Clone, Copy, PartialEq)]
enum Disturbance {
    None,
    Network(Fault),
    Flood,
}

/// Reads sessions on one instance while another instance ends and changes sessions. No read may
/// return a state that has been outdated for more than `MAX_STALE`, even if the invalidation feed
/// is disturbed.
#[rstest]
#[case::no_disturbance(Disturbance::None)]
#[case::connection_cut(Disturbance::Network(Fault::CutAfter(0)))]
#[case::replies_dropped(Disturbance::Network(Fault::SwallowAnswers))]
#[case::requests_dropped(Disturbance::Network(Fault::SwallowRequests))]
#[case::connection_hangs(Disturbance::Network(Fault::Stall))]
#[case::delay_below_max_stale(Disturbance::Network(Fault::Delay(Duration::from_millis(50))))]
#[case::delay_above_max_stale(Disturbance::Network(Fault::Delay(Duration::from_millis(600))))]
#[case::connection_cut_within_a_push(Disturbance::Network(Fault::CutAfter(500)))]
#[case::flood_of_writes(Disturbance::Flood)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_changes_reach_other_instances_within_the_maximum_staleness_under_load(
    #[case] disturbance: Disturbance,
) {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let feed_url = format!("redis://{}/0", proxy.address());
    let one = Arc::new(Instance::start_with(redis_settings(&url), &url, LIMITS).await);
    let other = Arc::new(Instance::start_with(redis_settings(&url), &feed_url, LIMITS).await);

    let test = Arc::new(LoadTest::default());
    for _ in 0..SESSIONS_AT_START {
        test.create_session(&one).await;
    }
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (test, other) = (Arc::clone(&test), Arc::clone(&other));
        load.spawn(async move { test.read_sessions(&other).await });
    }
    {
        let (test, one) = (Arc::clone(&test), Arc::clone(&one));
        load.spawn(async move { test.end_and_create_sessions(&one).await });
    }
    test.run_load_phase().await;
    for _ in 0..2 {
        match disturbance {
            Disturbance::None => {}
            Disturbance::Network(fault) => proxy.set(fault),
            Disturbance::Flood => flood_the_invalidation_feed(&redis).await,
        }
        test.run_load_phase().await;
        proxy.set(Fault::None);
        test.run_load_phase().await;
    }
    let serves_again = async || other.cache.is_serving() && !other.cache.is_empty();
    eventually(SOON, serves_again).await;
    load.shutdown().await;

    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!(count(&test.outdated_reads), 0);
    assert!(count(&test.ended) > 20, "{} logouts", count(&test.ended));
    assert!(count(&test.reads) > 1_000, "{} reads", count(&test.reads));
}

/// Writes 200 000 Redis keys with the same prefix as session records, so that the invalidation feed
/// must report all of them.
async fn flood_the_invalidation_feed(redis: &RedisProcess) {
    let script = "for n = 1, 200000 do redis.call('SET', 'session:flood-' .. n, 'x', 'EX', 5) end";
    redis.command(&["EVAL", script, "0"]).await;
}

/// A session of the load test, with the times at which its last change and its end were
/// acknowledged.
#[derive(Clone)]
struct TestSession {
    token: SessionToken,
    subject: String,
    version: u64,
    changed: Instant,
    ended: Option<Instant>,
}

/// State of the load test, which its tasks share.
#[derive(Default)]
struct LoadTest {
    /// All sessions of the load test, in the order of their creation.
    sessions: RwLock<Vec<TestSession>>,
    /// Number of reads in the current phase that must be rejected, because the session had ended.
    /// Counts only sessions that ended in this phase, more than `MAX_STALE` before the read.
    overdue: AtomicU64,
    phase_started: RwLock<Option<Instant>>,
    reads: AtomicU64,
    ended: AtomicU64,
    outdated_reads: AtomicU64,
}

impl LoadTest {
    async fn create_session(&self, instance: &Instance) {
        let subject = format!("member-{}", self.sessions.read().await.len());
        // The creation of a session can fail while Redis is flooded with writes, so it is retried.
        let token = loop {
            let new = instance
                .sessions
                .store_login(create_login_of(&subject))
                .await;
            if let Ok(new) = new {
                break new.token;
            }
        };
        self.sessions.write().await.push(TestSession {
            token,
            subject,
            version: 0,
            changed: Instant::now(),
            ended: None,
        });
    }

    /// Starts a phase of the load test. Waits until the phase has more than 100 reads of ended
    /// sessions, which the instance must reject (counted in [`overdue`](Self::overdue)).
    async fn run_load_phase(&self) {
        *self.phase_started.write().await = Some(Instant::now());
        self.overdue.store(0, Ordering::Relaxed);
        let overdue = async || self.overdue.load(Ordering::Relaxed) > 100;
        eventually(PHASE_TIMEOUT, overdue).await;
    }

    async fn read_sessions(&self, instance: &Instance) {
        for number in 0.. {
            let session = {
                let sessions = self.sessions.read().await;
                // Only the newest sessions are read: the live sessions, and those that ended a few
                // seconds ago.
                let from = sessions.len().saturating_sub(SESSIONS_AT_START + 200);
                sessions[from + number % (sessions.len() - from)].clone()
            };
            let requested = Instant::now();
            let version = read_version(instance, &session.token).await;
            self.reads.fetch_add(1, Ordering::Relaxed);
            let must_be_visible = |since: Instant| requested > since + MAX_STALE;
            if version.is_some_and(|version| version < session.version)
                && must_be_visible(session.changed)
            {
                self.outdated_reads.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(ended) = session.ended.filter(|ended| must_be_visible(*ended)) {
                if self
                    .phase_started
                    .read()
                    .await
                    .is_some_and(|started| ended > started)
                {
                    self.overdue.fetch_add(1, Ordering::Relaxed);
                }
                if version.is_some() {
                    self.outdated_reads.fetch_add(1, Ordering::Relaxed);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends the oldest live session in a loop, with each of the four ways of [`End`] in turn. After
    /// each end, creates a new session and changes a live session.
    async fn end_and_create_sessions(&self, instance: &Instance) {
        let ends = [
            End::Logout,
            End::Rotation,
            End::RevocationById,
            End::RevocationOfAll,
        ];
        for (number, end) in ends.into_iter().cycle().enumerate() {
            let session = self.sessions.read().await[number].clone();
            if let Ok(successor) = end.run(instance, &session.token, &session.subject).await {
                let mut sessions = self.sessions.write().await;
                sessions[number].ended = Some(Instant::now());
                self.ended.fetch_add(1, Ordering::Relaxed);
                if let Some(token) = successor {
                    sessions.push(TestSession {
                        token,
                        ended: None,
                        ..session
                    });
                }
            }
            self.create_session(instance).await;
            self.change_session(instance, number + SESSIONS_AT_START / 2)
                .await;
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn change_session(&self, instance: &Instance, number: usize) {
        let session = self.sessions.read().await[number].clone();
        let version = session.version + 1;
        let change = if version.is_multiple_of(2) {
            Change::Update
        } else {
            Change::Merge
        };
        let changed = change.run(instance, &session.token, version);
        if changed.await.is_ok() {
            let mut sessions = self.sessions.write().await;
            sessions[number].version = version;
            sessions[number].changed = Instant::now();
        }
    }
}
