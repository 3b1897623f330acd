//! What is near is not asked of Redis.

use fred::{
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand},
};
use futures_util::future::join_all;
use tee_session_domain::SessionToken;
use tee_session_test_support::RedisProcess;

use crate::{Instance, stored};

/// How many commands of these names the server was sent so far.
async fn commands(redis: &RedisProcess, names: &[&str]) -> u64 {
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
async fn a_session_in_use_is_answered_without_a_command() {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    let new = stored(&instance.sessions).await;
    instance.warm_up(&new).await;
    let before = commands(&redis, &READS).await;
    for _ in 0..1_000 {
        let active = instance.sessions.get(&new.token).await.unwrap();
        assert_eq!(active.session, new.session);
    }
    // But for another reading, should the push of the slide have come after it was kept.
    let asked = commands(&redis, &READS).await - before;
    assert!(asked < 20, "{asked} commands for 1000 accesses");
}

#[tokio::test]
async fn a_herd_on_one_session_is_one_reading() {
    let redis = RedisProcess::start().await;
    let one = Instance::start(&redis.url()).await;
    let other = Instance::start(&redis.url()).await;
    let new = stored(&one.sessions).await;
    let before = commands(&redis, &["get"]).await;
    let herd = join_all((0..500).map(|_| other.sessions.get(&new.token))).await;
    assert!(herd.iter().all(Result::is_ok));
    let asked = commands(&redis, &["get"]).await - before;
    // One, and another if a change is told meanwhile: that of the login, say.
    assert!(asked < 5, "{asked} commands for 500 accesses at once");
}

#[tokio::test]
async fn a_herd_on_a_token_that_opens_nothing_is_one_reading() {
    let redis = RedisProcess::start().await;
    let instance = Instance::start(&redis.url()).await;
    let token = SessionToken::generate();
    let before = commands(&redis, &["get"]).await;
    let herd = join_all((0..500).map(|_| instance.sessions.get(&token))).await;
    assert!(herd.iter().all(Result::is_err));
    let asked = commands(&redis, &["get"]).await - before;
    assert!(asked < 5, "{asked} commands for 500 accesses at once");
}

#[tokio::test]
async fn what_opens_nothing_is_not_kept() {
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
