//! Tests that cached sessions are served without commands to Redis.

use fred::{
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand},
};
use futures_util::future::join_all;
use tee_session_domain::{CookieUrl, SessionToken, SetCookieLines};
use tee_session_test_support::RedisProcess;

use crate::{Instance, store_session};

/// Returns the number of commands with one of the names `names` that Redis has received since its
/// start.
async fn count_commands(redis: &RedisProcess, names: &[&str]) -> u64 {
    let client = redis.client().await;
    let info = CustomCommand::new_static("INFO", ClusterHash::Random, false);
    let info: String = client.custom(info, vec!["commandstats"]).await.unwrap();
    let calls = |name: &&str| {
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.map_or(0, |rest| {
            rest.split(',').next().unwrap().parse::<u64>().unwrap()
        })
    };
    names.iter().map(calls).sum()
}

const READS: [&str; 3] = ["get", "expire", "pttl"];

#[tokio::test]
async fn cached_session_is_served_without_redis_commands() {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    let new = store_session(&instance.sessions).await;
    instance.warm_up(&new).await;
    let before = count_commands(&redis, &READS).await;
    for _ in 0..1_000 {
        let active = instance.sessions.get(&new.token).await.unwrap();
        assert_eq!(active.session, new.session);
    }
    // The invalidation for the touch can arrive after the session was cached. In that case, the
    // session is read once more.
    let sent = count_commands(&redis, &READS).await - before;
    assert!(sent < 20, "{sent} commands for 1000 accesses");
}

/// A merge of a cookie that the session already contains with the same value must not invalidate
/// the cached copy. Such merges are frequent, because many sites set the same cookie with each
/// answer.
#[tokio::test]
async fn merge_without_a_change_within_the_touch_interval_keeps_the_cached_copy() {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    let new = store_session(&instance.sessions).await;
    let merge = async || {
        let url = CookieUrl::of(&new.session.base_url).unwrap();
        let lines = SetCookieLines::new(url, ["a=1; Max-Age=3600".to_owned()]);
        let sessions = &instance.sessions;
        let loaded = sessions.load_for_merge(&new.token).await.unwrap();
        let merge = sessions.merge_loaded(&new.token, loaded, &lines, |_| true);
        merge.await.unwrap().is_changed
    };
    assert!(merge().await);
    instance.warm_up(&new).await;
    let before = count_commands(&redis, &["expire", "pttl", "eval", "evalsha"]).await;
    for _ in 0..100 {
        assert!(!merge().await);
        instance.sessions.get(&new.token).await.unwrap();
    }
    // Because an invalidation may have arrived late, the session may have been read once more.
    let sent = count_commands(&redis, &["expire", "pttl", "eval", "evalsha"]).await - before;
    assert!(sent < 5, "{sent} commands for 100 merges and accesses");
}

#[tokio::test]
async fn concurrent_requests_for_an_uncached_session_share_one_redis_read() {
    let redis = RedisProcess::start().await;
    let one = Instance::start(&redis.url()).await;
    let other = Instance::start(&redis.url()).await;
    let new = store_session(&one.sessions).await;
    let before = count_commands(&redis, &["get"]).await;
    let herd = join_all((0..500).map(|_| other.sessions.get(&new.token))).await;
    assert!(herd.iter().all(Result::is_ok));
    let sent = count_commands(&redis, &["get"]).await - before;
    // One read is expected. If an invalidation arrives during the read, for example because of the
    // creation of the session, there is another read.
    assert!(sent < 5, "{sent} commands for 500 accesses at once");
}

#[tokio::test]
async fn concurrent_requests_for_an_unknown_token_share_one_redis_read() {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    let token = SessionToken::generate();
    let before = count_commands(&redis, &["get"]).await;
    let herd = join_all((0..500).map(|_| instance.sessions.get(&token))).await;
    assert!(herd.iter().all(Result::is_err));
    let sent = count_commands(&redis, &["get"]).await - before;
    assert!(sent < 5, "{sent} commands for 500 accesses at once");
}

#[tokio::test]
async fn unknown_token_is_not_cached() {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    for _ in 0..10 {
        let token = SessionToken::generate();
        for _ in 0..3 {
            assert!(instance.sessions.get(&token).await.is_err());
        }
    }
    assert!(instance.cache.is_empty());
}
