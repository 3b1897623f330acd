//! A logout on one instance, as the others see it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rstest::rstest;
use tee_session_domain::SessionToken;
use tee_session_near_cache::NearCacheSettings;
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, eventually};
use tokio::{sync::RwLock, task::JoinSet, time::sleep};

use crate::{Instance, SOON, settings, stored};

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

/// Sessions, and when they were logged out.
#[derive(Default)]
struct Desk {
    sessions: RwLock<Vec<(SessionToken, Option<Instant>)>>,
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
        let new = stored(&instance.sessions).await;
        self.sessions.write().await.push((new.token, None));
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
            let (token, ended) = {
                let sessions = self.sessions.read().await;
                // The last ones: those that are in use, and those that ended in the last seconds.
                let from = sessions.len().saturating_sub(IN_USE + 200);
                sessions[from + number % (sessions.len() - from)].clone()
            };
            let asked = Instant::now();
            let is_open = instance.sessions.get(&token).await.is_ok();
            self.reads.fetch_add(1, Ordering::Relaxed);
            if let Some(ended) = ended.filter(|ended| asked > *ended + MAX_STALE) {
                if self
                    .check_began
                    .read()
                    .await
                    .is_some_and(|began| ended > began)
                {
                    self.overdue.fetch_add(1, Ordering::Relaxed);
                }
                if is_open {
                    self.violations.fetch_add(1, Ordering::Relaxed);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn log_in_and_out(&self, instance: &Instance) {
        for number in 0.. {
            let token = self.sessions.read().await[number].0.clone();
            if instance.sessions.delete(&token).await.is_ok() {
                self.sessions.write().await[number].1 = Some(Instant::now());
                self.ended.fetch_add(1, Ordering::Relaxed);
            }
            self.log_in(instance).await;
            sleep(Duration::from_millis(10)).await;
        }
    }
}
