//! The same of clusters, and behind sentinels.

use tee_session_redis_adapter::diagnosis::{Check, Needs, Verdict};
use tee_session_test_support::{RedisCluster, RedisProcess, RedisSentinels};

use crate::{
    diagnosis::{found, only, worst},
    settings,
};

#[tokio::test]
async fn each_primary_of_a_cluster_is_looked_at_and_one_that_is_away_is_named() {
    let mut redis = RedisCluster::start_with(3, 0, &["--appendonly", "yes"]).await;
    let settings = settings(&redis.url());
    let needs = Needs::default().with_subjects(true);
    let sound = found(&settings, needs).await;
    assert_eq!(worst(&sound), Verdict::Fine, "{sound:#?}");
    let permissions = only(&sound, Check::Permissions);
    assert_eq!(permissions.servers.len(), 3, "{permissions:?}");
    for check in [Check::Role, Check::Writes, Check::Clock] {
        assert_eq!(only(&sound, check).servers.len(), 3);
    }

    let lost = format!("127.0.0.1:{}", redis.node(1).port());
    redis.node_mut(1).kill().await;
    let found = found(&settings, needs).await;
    let missed = found
        .iter()
        .find(|finding| finding.verdict == Verdict::Error);
    let missed = missed.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(
        (missed.check, &missed.servers[..]),
        (Check::Connection, &[lost][..])
    );
    assert_eq!(only(&found, Check::Writes).servers.len(), 2);
}

#[tokio::test]
async fn a_cluster_with_slots_that_are_nobodys_is_told() {
    let redis = RedisCluster::start(2, 0).await;
    let taken = ["CLUSTER", "DELSLOTSRANGE", "0", "99"];
    for number in 0..2 {
        redis.node(number).command(&taken).await;
    }
    let found = found(&settings(&redis.url()), Needs::default()).await;
    let lacking = found
        .iter()
        .find(|finding| finding.verdict == Verdict::Error);
    let lacking = lacking.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(lacking.what, "100 of 16384 slots are nobody's");
}

#[tokio::test]
async fn a_user_of_a_cluster_needs_more() {
    let redis = RedisCluster::start(2, 0).await;
    for number in 0..2 {
        let user = "ACL SETUSER tee on >s3cret ~session:* ~subject:* +@all -asking -cluster|slots";
        redis
            .node(number)
            .command(&user.split(' ').collect::<Vec<_>>())
            .await;
    }
    let url = redis.url().replace("//", "//tee:s3cret@");
    let lacking = found(&settings(&url), Needs::default()).await;
    let refused = only(&lacking, Check::Permissions);
    let advice = refused.advice.as_deref().unwrap();
    assert_eq!(advice, "in Redis: ACL SETUSER tee +cluster|slots");
    for number in 0..2 {
        let user = ["ACL", "SETUSER", "tee", "+cluster|slots"];
        redis.node(number).command(&user).await;
    }
    let lacking = found(&settings(&url), Needs::default()).await;
    let refused = only(&lacking, Check::Permissions);
    let advice = refused.advice.as_deref().unwrap();
    assert_eq!(advice, "in Redis: ACL SETUSER tee +asking");
    assert_eq!(
        (refused.verdict, refused.servers.len()),
        (Verdict::Error, 2)
    );
}

#[tokio::test]
async fn what_is_no_cluster_is_told() {
    let redis = RedisProcess::start().await;
    let url = format!("redis-cluster://127.0.0.1:{}", redis.port());
    let found = found(&settings(&url), Needs::default()).await;
    let refused = only(&found, Check::Cluster);
    assert_eq!(refused.verdict, Verdict::Error);
    assert!(
        refused.what.contains("no server of a cluster"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn behind_sentinels_the_primary_is_looked_at_and_each_sentinel() {
    let redis = RedisSentinels::start_with(1, &["--appendonly", "yes"]).await;
    let url = redis.url();
    let sound = found(&settings(&url), Needs::default()).await;
    assert_eq!(worst(&sound), Verdict::Fine, "{sound:#?}");
    assert_eq!(only(&sound, Check::Sentinel).servers.len(), 3);
    let primary = format!("127.0.0.1:{}", redis.server(0).port());
    assert_eq!(only(&sound, Check::Writes).servers, [primary]);

    let name = url.split("sentinelServiceName=").nth(1).unwrap();
    let name = name.split('&').next().unwrap();
    let service = format!("sentinelServiceName={name}");
    let another = url.replace(&service, "sentinelServiceName=another");
    let unknown = found(&settings(&another), Needs::default()).await;
    let refused = only(&unknown, Check::Sentinel);
    assert_eq!(
        (refused.verdict, refused.servers.len()),
        (Verdict::Error, 3)
    );
    assert!(
        refused
            .advice
            .as_deref()
            .unwrap()
            .contains("sentinelServiceName")
    );

    redis.sentinel(2).pause();
    let without_one = found(&settings(&url), Needs::default()).await;
    assert_eq!(worst(&without_one), Verdict::Warning, "{without_one:#?}");
    assert_eq!(only(&without_one, Check::Writes).verdict, Verdict::Fine);
}

#[tokio::test]
async fn a_sentinel_is_no_place_for_sessions() {
    let redis = RedisSentinels::start().await;
    let url = format!("redis://127.0.0.1:{}", redis.sentinel(0).port());
    let found = found(&settings(&url), Needs::default()).await;
    let refused = only(&found, Check::Role);
    assert_eq!(refused.verdict, Verdict::Error);
    assert!(
        refused
            .advice
            .as_deref()
            .unwrap()
            .contains("redis-sentinel:")
    );
}
