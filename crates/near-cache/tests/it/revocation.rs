//! Logouts, and other changes, on one instance, as the others see them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rstest::rstest;
use tee_session_domain::{SessionId, SessionPatch, SessionToken, Subject};
use tee_session_near_cache::NearCacheSettings;
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, eventually};
use tokio::{sync::RwLock, task::JoinSet, time::sleep};

use crate::{Instance, SOON, login_of, settings, stored, stored_of};

const MAX_STALE: Duration = Duration::from_millis(400);

/// Sessions that are open at any time.
const IN_USE: usize = 50;

const CHECKED_WITHIN: Duration = Duration::from_secs(20);

const BOUNDS: NearCacheSettings = NearCacheSettings {
    max_stale: MAX_STALE,
    max_entries: 10_000,
    max_bytes: 16 * 1_024 * 1_024,
};

#[tokio::test]
async fn it_holds_at_once_on_the_instance_that_answers() {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    for _ in 0..100 {
        let new = stored(&instance.sessions).await;
        instance.warm_up(&new).await;
        assert!(instance.sessions.delete(&new.token).await.unwrap());
        assert!(instance.sessions.get(&new.token).await.is_err());
    }
}

#[tokio::test]
async fn it_is_pushed_to_the_others() {
    let redis = RedisProcess::start().await;
    let one = Instance::start(&redis.url()).await;
    let other = Instance::start(&redis.url()).await;
    let new = stored(&one.sessions).await;
    one.warm_up(&new).await;
    other.warm_up(&new).await;
    assert!(one.sessions.delete(&new.token).await.unwrap());
    eventually(SOON, async || other.sessions.get(&new.token).await.is_err()).await;
}

/// The cookie that tells how often a session was changed.
const VERSION: &str = "version";

/// The ways in which a session ends, or loses its token.
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
async fn however_a_session_ends_the_others_hear_of_it(#[case] end: End) {
    let redis = RedisProcess::start().await;
    let one = Instance::start(&redis.url()).await;
    let other = Instance::start(&redis.url()).await;
    let new = stored_of(&one.sessions, "member").await;
    one.warm_up(&new).await;
    other.warm_up(&new).await;
    assert!(end.happen(&one, &new.token, "member").await.is_ok());
    for instance in [&one, &other] {
        eventually(SOON, async || {
            instance.sessions.get(&new.token).await.is_err()
        })
        .await;
    }
}

#[tokio::test]
async fn a_change_is_seen_at_once_where_it_was_made_and_soon_by_the_others() {
    let redis = RedisProcess::start().await;
    let one = Instance::start(&redis.url()).await;
    let other = Instance::start(&redis.url()).await;
    let new = stored(&one.sessions).await;
    for version in 1..20 {
        one.warm_up(&new).await;
        other.warm_up(&new).await;
        let patch = SessionPatch::default().set_cookie(VERSION, version.to_string());
        one.sessions
            .update(&new.token, &patch, |_| true)
            .await
            .unwrap();
        assert_eq!(seen_version(&one, &new.token).await, Some(version));
        let is_seen = async || seen_version(&other, &new.token).await == Some(version);
        eventually(SOON, is_seen).await;
    }
}

/// How often the session was changed, as the instance sees it; `None` when it is refused.
async fn seen_version(instance: &Instance, token: &SessionToken) -> Option<u64> {
    let session = instance.sessions.get(token).await.ok()?.session;
    let version = session.cookies.get(VERSION);
    Some(version.map_or(0, |text| text.parse().unwrap()))
}

impl End {
    /// The new token, if there is one; an error when nobody knows whether it happened.
    async fn happen(
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

/// What happens on the way from Redis to the instance that must hear of logouts.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    None,
    Way(Fault),
    Flood,
}

/// Readers ask one instance for sessions while another one ends them. No answer may be older than
/// what the settings allow, whatever happens to the channel.
#[rstest]
#[case::nothing(Trouble::None)]
#[case::cut(Trouble::Way(Fault::CutAfter(0)))]
#[case::answers_swallowed(Trouble::Way(Fault::SwallowAnswers))]
#[case::requests_swallowed(Trouble::Way(Fault::SwallowRequests))]
#[case::hung(Trouble::Way(Fault::Stall))]
#[case::a_little_late(Trouble::Way(Fault::Delay(Duration::from_millis(50))))]
#[case::too_late(Trouble::Way(Fault::Delay(Duration::from_millis(600))))]
#[case::cut_within_a_push(Trouble::Way(Fault::CutAfter(500)))]
#[case::flooded(Trouble::Flood)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_nobody_sees_a_logout_later_than_allowed(#[case] trouble: Trouble) {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let way = format!("redis://{}/0", proxy.address());
    let one = Arc::new(Instance::start_with(settings(&url), &url, BOUNDS).await);
    let other = Arc::new(Instance::start_with(settings(&url), &way, BOUNDS).await);

    let desk = Arc::new(Desk::default());
    for _ in 0..IN_USE {
        desk.log_in(&one).await;
    }
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let (desk, other) = (Arc::clone(&desk), Arc::clone(&other));
        load.spawn(async move { desk.read(&other).await });
    }
    {
        let (desk, one) = (Arc::clone(&desk), Arc::clone(&one));
        load.spawn(async move { desk.log_in_and_out(&one).await });
    }
    desk.has_been_checked().await;
    for _ in 0..2 {
        match trouble {
            Trouble::None => {}
            Trouble::Way(fault) => proxy.set(fault),
            Trouble::Flood => flood(&redis).await,
        }
        desk.has_been_checked().await;
        proxy.set(Fault::None);
        desk.has_been_checked().await;
    }
    let works_again = async || other.cache.is_serving() && !other.cache.is_empty();
    eventually(SOON, works_again).await;
    load.shutdown().await;

    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!(count(&desk.violations), 0);
    assert!(count(&desk.ended) > 20, "{} logouts", count(&desk.ended));
    assert!(count(&desk.reads) > 1_000, "{} reads", count(&desk.reads));
}

/// Many writes under the prefix of sessions.
async fn flood(redis: &RedisProcess) {
    let script = "for n = 1, 200000 do redis.call('SET', 'session:flood-' .. n, 'x', 'EX', 5) end";
    redis.command(&["EVAL", script, "0"]).await;
}

/// A session: what was done to it, and when that was acknowledged.
#[derive(Clone)]
struct Open {
    token: SessionToken,
    subject: String,
    version: u64,
    changed: Instant,
    ended: Option<Instant>,
}

/// Sessions, the latest last.
#[derive(Default)]
struct Desk {
    sessions: RwLock<Vec<Open>>,
    /// Readings, since the check began, of sessions that ended after that and longer ago than any
    /// copy may be served.
    overdue: AtomicU64,
    check_began: RwLock<Option<Instant>>,
    reads: AtomicU64,
    ended: AtomicU64,
    violations: AtomicU64,
}

impl Desk {
    async fn log_in(&self, instance: &Instance) {
        let subject = format!("member-{}", self.sessions.read().await.len());
        // While Redis is flooded it may take several tries.
        let token = loop {
            let new = instance.sessions.store_login(login_of(&subject)).await;
            if let Ok(new) = new {
                break new.token;
            }
        };
        self.sessions.write().await.push(Open {
            token,
            subject,
            version: 0,
            changed: Instant::now(),
            ended: None,
        });
    }

    /// Waits until sessions that end from now on have been asked for when they had to be refused.
    async fn has_been_checked(&self) {
        *self.check_began.write().await = Some(Instant::now());
        self.overdue.store(0, Ordering::Relaxed);
        let overdue = async || self.overdue.load(Ordering::Relaxed) > 100;
        eventually(CHECKED_WITHIN, overdue).await;
    }

    async fn read(&self, instance: &Instance) {
        for number in 0.. {
            let open = {
                let sessions = self.sessions.read().await;
                // The last ones: those that are in use, and those that ended in the last seconds.
                let from = sessions.len().saturating_sub(IN_USE + 200);
                sessions[from + number % (sessions.len() - from)].clone()
            };
            let asked = Instant::now();
            let version = seen_version(instance, &open.token).await;
            self.reads.fetch_add(1, Ordering::Relaxed);
            let has_to_be_known = |since: Instant| asked > since + MAX_STALE;
            if version.is_some_and(|version| version < open.version)
                && has_to_be_known(open.changed)
            {
                self.violations.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(ended) = open.ended.filter(|ended| has_to_be_known(*ended)) {
                if self
                    .check_began
                    .read()
                    .await
                    .is_some_and(|began| ended > began)
                {
                    self.overdue.fetch_add(1, Ordering::Relaxed);
                }
                if version.is_some() {
                    self.violations.fetch_add(1, Ordering::Relaxed);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends the sessions one after the other, each in its turn's way, and changes one that stays.
    async fn log_in_and_out(&self, instance: &Instance) {
        let ends = [
            End::Logout,
            End::Rotation,
            End::RevocationById,
            End::RevocationOfAll,
        ];
        for (number, end) in ends.into_iter().cycle().enumerate() {
            let open = self.sessions.read().await[number].clone();
            if let Ok(successor) = end.happen(instance, &open.token, &open.subject).await {
                let mut sessions = self.sessions.write().await;
                sessions[number].ended = Some(Instant::now());
                self.ended.fetch_add(1, Ordering::Relaxed);
                if let Some(token) = successor {
                    sessions.push(Open {
                        token,
                        ended: None,
                        ..open
                    });
                }
            }
            self.log_in(instance).await;
            self.change(instance, number + IN_USE / 2).await;
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn change(&self, instance: &Instance, number: usize) {
        let open = self.sessions.read().await[number].clone();
        let version = open.version + 1;
        let patch = SessionPatch::default().set_cookie(VERSION, version.to_string());
        let updated = instance.sessions.update(&open.token, &patch, |_| true);
        if updated.await.is_ok() {
            let mut sessions = self.sessions.write().await;
            sessions[number].version = version;
            sessions[number].changed = Instant::now();
        }
    }
}
