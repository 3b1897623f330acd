//! Tests of the invalidation feed, by which Redis reports changed sessions to the near cache
//! (copies of sessions in this process). A test listener takes the place of the near cache.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fred::interfaces::KeysInterface;
use rstest::rstest;
use tee_session_domain::{InvalidationListener, StoreInstance};
use tee_session_redis_adapter::RedisInvalidationFeed;
use tee_session_test_support::{RedisProcess, eventually};

use crate::settings;

const SOON: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Listener {
    confirmations: AtomicUsize,
    losses: AtomicUsize,
    /// If `true`, the next invalidation blocks the feed until the value is `false` again.
    blocks: AtomicBool,
}

impl InvalidationListener for Listener {
    fn invalidate(&self, _: &[u8]) {
        if self.blocks.load(Ordering::SeqCst) {
            // Moves the other tasks of this worker thread to another thread.
            tokio::task::block_in_place(|| {
                while self.blocks.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
    }

    fn feed_lost(&self) {
        self.losses.fetch_add(1, Ordering::SeqCst);
    }

    fn feed_confirmed(&self, _: StoreInstance, _: Instant) {
        self.confirmations.fetch_add(1, Ordering::SeqCst);
    }
}

async fn start_feed(
    redis: &RedisProcess,
    max_silence: Duration,
) -> (Arc<Listener>, RedisInvalidationFeed) {
    let listener = Arc::new(Listener::default());
    let settings = settings(&redis.url()).with_invalidation_feed().unwrap();
    let feed = RedisInvalidationFeed::subscribe(&settings, max_silence, Arc::clone(&listener) as _);
    assert!(feed.wait_until_feed_is_up(SOON).await.unwrap());
    (listener, feed)
}

#[tokio::test]
async fn invalidation_feed_stays_up_when_redis_is_out_of_memory() {
    const MAX_SILENCE: Duration = Duration::from_secs(1);
    let redis = RedisProcess::start().await;
    let (listener, _feed) = start_feed(&redis, MAX_SILENCE).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let before = listener.confirmations.load(Ordering::SeqCst);
    eventually(SOON, async || {
        listener.confirmations.load(Ordering::SeqCst) > before + 5
    })
    .await;
    assert_eq!(listener.losses.load(Ordering::SeqCst), 0);
}

/// Removes all keys of Redis. The client library fred drops the message that announces the removal,
/// so the feed must detect the removal in another way. The feed writes its own key (the canary)
/// four times within `max_silence`, the maximum time between two confirmations of the feed. At the
/// first write after the removal, the previous value of the canary is missing. The feed must
/// therefore report a loss within a quarter of `max_silence`.
#[rstest]
#[case::flushall(&[], &["FLUSHALL"])]
#[case::flushdb_async(&[], &["FLUSHDB", "ASYNC"])]
#[case::flushall_without_eval(&["--rename-command", "EVAL", ""], &["FLUSHALL"])]
#[tokio::test]
async fn flushall_or_flushdb_is_reported_as_a_loss_of_the_invalidation_feed(
    #[case] options: &[&str],
    #[case] flush: &[&str],
) {
    const MAX_SILENCE: Duration = Duration::from_secs(4);
    let redis = RedisProcess::start_with(options).await;
    let (listener, _feed) = start_feed(&redis, MAX_SILENCE).await;
    redis.command(flush).await;
    let found = eventually(MAX_SILENCE, async || {
        listener.losses.load(Ordering::SeqCst) > 0
    })
    .await;
    let reserve = Duration::from_millis(500);
    assert!(found < MAX_SILENCE / 4 + reserve, "{found:?}");
}

/// Another program that shares the Redis server may flush its own database. Redis announces this
/// flush in the same way as a flush of the database of the sessions, but the canary key of the feed
/// still exists.
#[tokio::test]
async fn flush_of_another_database_is_not_reported_as_a_loss_of_the_invalidation_feed() {
    let redis = RedisProcess::start().await;
    let (listener, _feed) = start_feed(&redis, Duration::from_secs(1)).await;
    let other = redis.admin().await;
    other.send(&["SELECT", "1"]).await;
    other.send(&["SET", "a", "1"]).await;
    other.send(&["FLUSHDB"]).await;
    let before = listener.confirmations.load(Ordering::SeqCst);
    eventually(SOON, async || {
        listener.confirmations.load(Ordering::SeqCst) > before + 5
    })
    .await;
    assert_eq!(listener.losses.load(Ordering::SeqCst), 0);
}

/// Blocks the listener while Redis sends 1200 invalidation messages. The feed buffers at most 1024
/// messages, so it misses invalidations. The feed must report a loss and restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn invalidation_feed_that_misses_messages_reports_a_loss_and_restarts() {
    let redis = RedisProcess::start().await;
    let (listener, feed) = start_feed(&redis, Duration::from_secs(30)).await;
    assert_eq!(listener.losses.load(Ordering::SeqCst), 0);
    listener.blocks.store(true, Ordering::SeqCst);
    // Redis combines all changes of one event loop iteration into one message. The keys are
    // therefore set one after the other.
    let client = redis.client().await;
    for number in 0..1_200 {
        let key = format!("session:{number}");
        let () = client.set(key, "x", None, None, false).await.unwrap();
    }
    listener.blocks.store(false, Ordering::SeqCst);
    eventually(SOON, async || listener.losses.load(Ordering::SeqCst) > 0).await;
    assert!(feed.wait_until_feed_is_up(SOON).await.unwrap());
    let confirmations = listener.confirmations.load(Ordering::SeqCst);
    eventually(SOON, async || {
        listener.confirmations.load(Ordering::SeqCst) > confirmations
    })
    .await;
}
