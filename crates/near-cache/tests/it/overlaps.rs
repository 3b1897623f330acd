//! Tests of the near cache with reads that overlap a change of the same session, in every order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rstest::rstest;
use tee_session_domain::{
    BaseUrl, Cookies, InvalidationListener, Session, SessionAttributes, SessionRepository,
    SessionToken, StoreInstance,
};
use tee_session_near_cache::{NearCache, NearCacheSettings, NearCachedRepository};
use tee_session_test_support::eventually;

use crate::gated_repository::{GatedRepository, INSTANCE};

const TTL: Duration = Duration::from_secs(1_800);

/// Creates a repository with a near cache, confirms the invalidation feed of the cache, and stores
/// a session. Returns the repository and the token of the session.
async fn set_up() -> (Near, SessionToken) {
    let store = GatedRepository::new();
    let cache = NearCache::new(&NearCacheSettings::default());
    cache.feed_confirmed(INSTANCE, Instant::now());
    let repository = NearCachedRepository::new(store.clone(), Some(cache.clone()));
    let near = Near {
        store,
        cache,
        repository: Arc::new(repository),
    };
    let token = SessionToken::generate();
    let cookies = [("SESSIONID".to_owned(), "a1b2c3".to_owned())];
    let session = Session {
        cookies: Cookies::new(cookies).unwrap(),
        base_url: BaseUrl::new("https://golf.example").unwrap(),
        created_at: near.store.now(),
        absolute_end: None,
        attributes: SessionAttributes::default(),
    };
    let _ = near.store.insert(&token, &session, TTL).await.unwrap();
    (near, token)
}

struct Near {
    store: GatedRepository,
    cache: Arc<NearCache>,
    repository: Arc<NearCachedRepository<GatedRepository>>,
}

impl Near {
    async fn finds(&self, token: &SessionToken) -> bool {
        self.repository.load(token).await.unwrap().is_some()
    }

    /// Closes the gate and starts a read of the session. Waits until the read has its result and is
    /// blocked at the gate.
    async fn start_read(&self, token: &SessionToken) -> tokio::task::JoinHandle<bool> {
        self.store.close_gate();
        let (repository, token) = (Arc::clone(&self.repository), token.clone());
        let read = tokio::spawn(async move { repository.load(&token).await.unwrap().is_some() });
        self.store.wait_for_read().await;
        read
    }
}

#[tokio::test]
async fn session_is_served_from_the_near_cache_after_it_was_read_once() {
    let (near, token) = set_up().await;
    assert!(near.finds(&token).await);
    near.store.close_gate();
    assert!(
        near.finds(&token).await,
        "the gate is closed, so this is the copy"
    );
}

/// Checks that the result of a read is not cached if the session or the state of the invalidation
/// feed changes during the read.
#[rstest]
#[case::removed_by_another_instance(|near: &Near, token: &SessionToken| {
    near.cache.invalidate(token.expose_secret().as_bytes());
})]
#[case::feed_lost(|near: &Near, _: &SessionToken| near.cache.feed_lost())]
#[case::feed_lost_and_restored(|near: &Near, _: &SessionToken| {
    near.cache.feed_lost();
    near.cache.feed_confirmed(INSTANCE, Instant::now());
})]
#[case::feed_moved_to_another_server(|near: &Near, _: &SessionToken| {
    near.cache.feed_confirmed(StoreInstance(8), Instant::now());
})]
#[tokio::test]
async fn session_is_not_cached_if_it_changes_or_the_invalidation_feed_is_lost_during_the_read(
    #[case] change: fn(&Near, &SessionToken),
) {
    let (near, token) = set_up().await;
    let read = near.start_read(&token).await;
    change(&near, &token);
    near.store.remove(&token).await.unwrap();
    near.store.open_gate();
    assert!(read.await.unwrap(), "the session existed when it was read");
    assert!(near.cache.is_empty());
    assert!(!near.finds(&token).await);
}

#[tokio::test]
async fn session_missing_in_the_store_is_removed_from_the_cache_that_all_workers_share() {
    let (near, token) = set_up().await;
    let other_worker = NearCachedRepository::new(near.store.clone(), Some(near.cache.clone()));
    assert!(near.finds(&token).await);
    assert!(!near.cache.is_empty());
    // The session is removed by another instance, and the invalidation has not arrived yet.
    near.store.remove(&token).await.unwrap();
    assert!(near.finds(&token).await, "from the copy");
    assert!(other_worker.load_with_ttl(&token).await.unwrap().is_none());
    assert!(!near.finds(&token).await);
}

#[tokio::test]
async fn session_removed_by_one_worker_is_removed_from_the_cache_that_all_workers_share() {
    let (near, token) = set_up().await;
    let other_worker = NearCachedRepository::new(near.store.clone(), Some(near.cache.clone()));
    assert!(near.finds(&token).await);
    assert!(other_worker.load(&token).await.unwrap().is_some());
    assert!(other_worker.remove(&token).await.unwrap());
    assert!(!near.finds(&token).await);
}

#[tokio::test]
async fn cached_session_is_not_served_after_the_repository_connects_to_another_redis_server() {
    let (near, token) = set_up().await;
    assert!(near.finds(&token).await);
    near.store.remove(&token).await.unwrap();
    assert!(near.finds(&token).await, "from the copy");
    near.store.move_to(StoreInstance(8));
    assert!(!near.finds(&token).await);
}

#[tokio::test]
async fn request_after_a_session_removal_does_not_use_a_read_that_began_before_the_removal() {
    let (near, token) = set_up().await;
    let read = near.start_read(&token).await;
    assert!(near.repository.remove(&token).await.unwrap());
    let later = {
        let (repository, token) = (Arc::clone(&near.repository), token.clone());
        tokio::spawn(async move { repository.load(&token).await.unwrap().is_some() })
    };
    near.store.wait_for_read().await;
    near.store.open_gate();
    assert!(read.await.unwrap());
    assert!(!later.await.unwrap());
    assert!(!near.finds(&token).await);
}

/// Cancels a read of the store for which ten other requests wait. Each of them must then read the
/// session itself. If they shared another read, each failed read would delay their responses by one
/// more store timeout.
#[tokio::test]
async fn waiting_requests_each_read_the_store_themselves_if_their_shared_read_is_cancelled() {
    let (near, token) = set_up().await;
    let read = near.start_read(&token).await;
    let joined: Vec<_> = (0..10)
        .map(|_| {
            let (repository, token) = (Arc::clone(&near.repository), token.clone());
            tokio::spawn(async move { repository.load(&token).await.unwrap().is_some() })
        })
        .collect();
    // The runtime of this test has one thread, so each follower runs until it waits for the leader.
    tokio::task::yield_now().await;
    assert_eq!(near.store.reads(), 1);
    read.abort();
    for _ in 0..10 {
        near.store.wait_for_read().await;
    }
    near.store.open_gate();
    for joined in joined {
        assert!(joined.await.unwrap());
    }
    assert_eq!(near.store.reads(), 11);
}

#[tokio::test]
async fn cached_sessions_are_not_served_unless_the_invalidation_feed_was_confirmed_recently() {
    let (near, token) = set_up().await;
    near.cache.feed_confirmed(INSTANCE, Instant::now());
    assert!(near.finds(&token).await);
    near.store.remove(&token).await.unwrap();
    let soon = 2 * NearCacheSettings::default().max_stale;
    eventually(soon, async || !near.cache.is_serving()).await;
    assert!(!near.finds(&token).await);
}

#[tokio::test]
async fn cached_session_expires_with_its_ttl_even_if_no_invalidation_arrives() {
    let (near, token) = set_up().await;
    let ttl = Duration::from_secs(1);
    near.store.load_and_touch(&token, ttl).await.unwrap();
    assert!(near.finds(&token).await);
    near.store.close_gate();
    assert!(near.finds(&token).await, "cached");
    near.store.open_gate();
    eventually(2 * ttl, async || {
        near.cache.feed_confirmed(INSTANCE, Instant::now());
        !near.finds(&token).await
    })
    .await;
}
