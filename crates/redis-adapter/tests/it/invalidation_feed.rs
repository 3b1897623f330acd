//! The feed of changes, as a near cache receives it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fred::interfaces::KeysInterface;
use rstest::rstest;
use tee_session_domain::{ChangeListener, StoreInstance};
use tee_session_redis_adapter::RedisChanges;
use tee_session_test_support::{RedisProcess, eventually};

use crate::settings;

const SOON: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Listener {
    signs_of_life: AtomicUsize,
    losses: AtomicUsize,
    /// Blocks the feed at the next change, for as long as this is set.
    blocks: AtomicBool,
}

impl ChangeListener for Listener {
    fn changed(&self, _: &[u8]) {
        if self.blocks.load(Ordering::SeqCst) {
            // Tasks that wait for this thread go to others.
            tokio::task::block_in_place(|| {
                while self.blocks.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
    }

    fn lost(&self) {
        self.losses.fetch_add(1, Ordering::SeqCst);
    }

    fn told(&self, _: StoreInstance, _: Instant) {
        self.signs_of_life.fetch_add(1, Ordering::SeqCst);
    }
}

async fn feed(redis: &RedisProcess, max_silence: Duration) -> (Arc<Listener>, RedisChanges) {
    let listener = Arc::new(Listener::default());
    let settings = settings(&redis.url()).telling_changes().unwrap();
    let changes = RedisChanges::tell(&settings, max_silence, Arc::clone(&listener) as _);
    assert!(changes.wait_until_telling(SOON).await.unwrap());
    (listener, changes)
}

/// fred drops the push of a FLUSHALL, which names no keys. The canary is gone with the other keys, and
/// the next one, a quarter of the time away, shows that.
#[rstest]
#[case::all(&["FLUSHALL"])]
#[case::database(&["FLUSHDB", "ASYNC"])]
#[tokio::test]
async fn a_flush_is_found_within_a_quarter_of_the_longest_silence(#[case] flush: &[&str]) {
    const MAX_SILENCE: Duration = Duration::from_secs(4);
    let redis = RedisProcess::start().await;
    let (listener, _changes) = feed(&redis, MAX_SILENCE).await;
    redis.command(flush).await;
    let found = eventually(MAX_SILENCE, async || {
        listener.losses.load(Ordering::SeqCst) > 0
    })
    .await;
    let machine_is_busy = Duration::from_millis(500);
    assert!(found < MAX_SILENCE / 4 + machine_is_busy, "{found:?}");
}

/// A feed that cannot keep up misses changes for good, so it ends and begins again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_feed_that_cannot_keep_up_is_lost() {
    let redis = RedisProcess::start().await;
    let (listener, changes) = feed(&redis, Duration::from_secs(30)).await;
    assert_eq!(listener.losses.load(Ordering::SeqCst), 0);
    listener.blocks.store(true, Ordering::SeqCst);
    // Redis gathers what changes in one turn of its event loop into one push, so these are sent one by
    // one; the feed can be behind by 1024.
    let client = redis.client().await;
    for number in 0..1_200 {
        let key = format!("session:{number}");
        let () = client.set(key, "x", None, None, false).await.unwrap();
    }
    listener.blocks.store(false, Ordering::SeqCst);
    eventually(SOON, async || listener.losses.load(Ordering::SeqCst) > 0).await;
    assert!(changes.wait_until_telling(SOON).await.unwrap());
    let signs_of_life = listener.signs_of_life.load(Ordering::SeqCst);
    eventually(SOON, async || {
        listener.signs_of_life.load(Ordering::SeqCst) > signs_of_life
    })
    .await;
}
