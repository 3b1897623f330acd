//! A reading and a change that overlap, in every order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rstest::rstest;
use tee_session_domain::{
    BaseUrl, ChangeListener, Cookies, Session, SessionRepository, SessionToken, StoreInstance,
};
use tee_session_near_cache::{NearCache, NearCacheSettings, NearCachedRepository};
use tee_session_test_support::eventually;

use crate::gated_repository::{GatedRepository, INSTANCE};

const TTL: Duration = Duration::from_secs(1_800);

/// A session that is stored, before a cache that hears of changes.
async fn near() -> (Near, SessionToken) {
    let store = GatedRepository::new();
    let cache = NearCache::new(&NearCacheSettings::default());
    cache.told(INSTANCE, Instant::now());
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
        subject: None,
        label: None,
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
        self.repository.fetch(token).await.unwrap().is_some()
    }

    /// A reading that has seen the store, and whose answer is still on its way.
    async fn begin_to_read(&self, token: &SessionToken) -> tokio::task::JoinHandle<bool> {
        self.store.shut();
        let (repository, token) = (Arc::clone(&self.repository), token.clone());
        let reading =
            tokio::spawn(async move { repository.fetch(&token).await.unwrap().is_some() });
        self.store.has_read().await;
        reading
    }
}

#[tokio::test]
async fn what_was_read_is_kept() {
    let (near, token) = near().await;
    assert!(near.finds(&token).await);
    near.store.shut();
    assert!(near.finds(&token).await, "the gate is shut: it was near");
}

/// What can happen while a session is read, after which the copy must not be served.
#[rstest]
#[case::it_is_removed_elsewhere(|near: &Near, token: &SessionToken| {
    near.cache.changed(token.expose_secret().as_bytes());
})]
#[case::the_channel_is_lost(|near: &Near, _: &SessionToken| near.cache.lost())]
#[case::the_channel_is_lost_and_is_back(|near: &Near, _: &SessionToken| {
    near.cache.lost();
    near.cache.told(INSTANCE, Instant::now());
})]
#[case::another_server_tells_changes(|near: &Near, _: &SessionToken| {
    near.cache.told(StoreInstance(8), Instant::now());
})]
#[tokio::test]
async fn a_reading_that_overlaps_a_change_is_not_kept(#[case] change: fn(&Near, &SessionToken)) {
    let (near, token) = near().await;
    let reading = near.begin_to_read(&token).await;
    change(&near, &token);
    near.store.remove(&token).await.unwrap();
    near.store.open();
    assert!(reading.await.unwrap(), "it was there when it was read");
    assert!(near.cache.is_empty());
    assert!(!near.finds(&token).await);
}

#[tokio::test]
async fn who_learns_that_a_session_is_gone_makes_it_so_for_all_who_ask_here() {
    let (near, token) = near().await;
    let of_another_worker = NearCachedRepository::new(near.store.clone(), Some(near.cache.clone()));
    assert!(near.finds(&token).await);
    assert!(!near.cache.is_empty());
    // Elsewhere, and the channel has not told yet.
    near.store.remove(&token).await.unwrap();
    assert!(near.finds(&token).await, "from the copy");
    assert!(of_another_worker.peek(&token).await.unwrap().is_none());
    assert!(!near.finds(&token).await);
}

#[tokio::test]
async fn a_removal_by_one_worker_is_one_for_all_that_share_the_cache() {
    let (near, token) = near().await;
    let of_another_worker = NearCachedRepository::new(near.store.clone(), Some(near.cache.clone()));
    assert!(near.finds(&token).await);
    assert!(of_another_worker.fetch(&token).await.unwrap().is_some());
    assert!(of_another_worker.remove(&token).await.unwrap());
    assert!(!near.finds(&token).await);
}

#[tokio::test]
async fn a_copy_is_not_for_who_asks_another_server_now() {
    let (near, token) = near().await;
    assert!(near.finds(&token).await);
    near.store.remove(&token).await.unwrap();
    assert!(near.finds(&token).await, "from the copy");
    near.store.move_to(StoreInstance(8));
    assert!(!near.finds(&token).await);
}

#[tokio::test]
async fn after_a_removal_here_nobody_joins_a_reading_from_before() {
    let (near, token) = near().await;
    let reading = near.begin_to_read(&token).await;
    assert!(near.repository.remove(&token).await.unwrap());
    let later = {
        let (repository, token) = (Arc::clone(&near.repository), token.clone());
        tokio::spawn(async move { repository.fetch(&token).await.unwrap().is_some() })
    };
    near.store.has_read().await;
    near.store.open();
    assert!(reading.await.unwrap());
    assert!(!later.await.unwrap());
    assert!(!near.finds(&token).await);
}

#[tokio::test]
async fn those_who_joined_a_reading_that_was_given_up_share_another_one() {
    let (near, token) = near().await;
    let reading = near.begin_to_read(&token).await;
    let joined: Vec<_> = (0..10)
        .map(|_| {
            let (repository, token) = (Arc::clone(&near.repository), token.clone());
            tokio::spawn(async move { repository.fetch(&token).await.unwrap().is_some() })
        })
        .collect();
    // On this thread they come as far as they can.
    tokio::task::yield_now().await;
    assert_eq!(near.store.readings(), 1);
    reading.abort();
    near.store.has_read().await;
    near.store.open();
    for joined in joined {
        assert!(joined.await.unwrap());
    }
    assert_eq!(near.store.readings(), 2);
}

#[tokio::test]
async fn nothing_is_served_without_a_sign_of_life_from_the_channel() {
    let (near, token) = near().await;
    near.cache.told(INSTANCE, Instant::now());
    assert!(near.finds(&token).await);
    near.store.remove(&token).await.unwrap();
    let soon = 2 * NearCacheSettings::default().max_stale;
    eventually(soon, async || !near.cache.is_serving()).await;
    assert!(!near.finds(&token).await);
}

#[tokio::test]
async fn an_entry_ends_with_its_session_though_nobody_tells() {
    let (near, token) = near().await;
    let ttl = Duration::from_secs(1);
    near.store.fetch_and_slide(&token, ttl).await.unwrap();
    assert!(near.finds(&token).await);
    near.store.shut();
    assert!(near.finds(&token).await, "kept");
    near.store.open();
    eventually(2 * ttl, async || {
        near.cache.told(INSTANCE, Instant::now());
        !near.finds(&token).await
    })
    .await;
}
