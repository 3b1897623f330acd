//! Tests of the size limits of the near cache: number of entries and bytes.

use std::time::Instant;

use rstest::rstest;
use tee_session_domain::{
    BaseUrl, Cookies, InvalidationListener, Session, SessionAttributes, SessionRepository,
    SessionToken,
};
use tee_session_near_cache::{NearCache, NearCacheSettings, NearCachedRepository};

use crate::gated_repository::{GatedRepository, INSTANCE};

const MIB: usize = 1_024 * 1_024;

#[rstest]
#[case::number_of_entries(1_000, 64 * MIB, 100, 1_000)]
#[case::bytes_with_small_sessions(100_000, MIB, 100, 2_000)]
#[case::bytes_with_large_sessions(100_000, MIB, 4_000, 240)]
#[tokio::test]
async fn full_cache_holds_50_to_100_percent_of_its_maximum_size(
    #[case] max_entries: usize,
    #[case] max_bytes: usize,
    #[case] cookie_len: usize,
    #[case] most: usize,
) {
    let store = GatedRepository::new();
    let cache = NearCache::new(&NearCacheSettings {
        max_entries,
        max_bytes,
        ..NearCacheSettings::default()
    });
    let near = NearCachedRepository::new(store.clone(), Some(cache.clone()));
    let cookies = Cookies::new([("c".to_owned(), "v".repeat(cookie_len))]).unwrap();
    for _ in 0..5_000 {
        let token = SessionToken::generate();
        let session = Session {
            cookies: cookies.clone(),
            base_url: BaseUrl::new("https://golf.example").unwrap(),
            created_at: store.now(),
            absolute_end: None,
            attributes: SessionAttributes::default(),
        };
        let ttl = std::time::Duration::from_secs(60);
        let _ = store.insert(&token, &session, ttl).await.unwrap();
        cache.feed_confirmed(INSTANCE, Instant::now());
        assert!(near.load(&token).await.unwrap().is_some());
        assert!(cache.len() <= most, "{} entries", cache.len());
    }
    assert!(cache.len() >= most / 2, "{} entries of {most}", cache.len());
}
