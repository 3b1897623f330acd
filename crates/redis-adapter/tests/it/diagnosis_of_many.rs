//! Tests of the diagnosis of a Redis Cluster, and of a Redis server behind sentinels.

use tee_session_redis_adapter::diagnosis::{Check, RequiredPermissions, Verdict};
use tee_session_test_support::{RedisCluster, RedisProcess, RedisSentinels};

use crate::{
    diagnosis::{only_finding, run_diagnosis, worst_verdict},
    settings,
};

#[tokio::test]
async fn diagnosis_checks_every_cluster_primary_and_names_an_unreachable_primary() {
    let mut redis = RedisCluster::start_with(3, 0, &["--appendonly", "yes"]).await;
    let settings = settings(&redis.url());
    let required = RequiredPermissions::default().with_subjects(true);
    let sound = run_diagnosis(&settings, required).await;
    assert_eq!(worst_verdict(&sound), Verdict::Fine, "{sound:#?}");
    let permissions = only_finding(&sound, Check::Permissions);
    assert_eq!(permissions.servers.len(), 3, "{permissions:?}");
    for check in [Check::Role, Check::Writes, Check::Clock] {
        assert_eq!(only_finding(&sound, check).servers.len(), 3);
    }

    let lost = format!("127.0.0.1:{}", redis.node(1).port());
    redis.node_mut(1).kill().await;
    let found = run_diagnosis(&settings, required).await;
    let missed = found
        .iter()
        .find(|finding| finding.verdict == Verdict::Error);
    let missed = missed.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(
        (missed.check, &missed.servers[..]),
        (Check::Connection, &[lost][..])
    );
    assert_eq!(only_finding(&found, Check::Writes).servers.len(), 2);
}

#[tokio::test]
async fn diagnosis_reports_the_number_of_unassigned_hash_slots_as_an_error() {
    let redis = RedisCluster::start(2, 0).await;
    let taken = ["CLUSTER", "DELSLOTSRANGE", "0", "99"];
    for number in 0..2 {
        redis.node(number).command(&taken).await;
    }
    let found = run_diagnosis(&settings(&redis.url()), RequiredPermissions::default()).await;
    let lacking = found
        .iter()
        .find(|finding| finding.verdict == Verdict::Error);
    let lacking = lacking.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(
        lacking.what,
        "100 of 16384 hash slots are not assigned to a server"
    );
}

#[tokio::test]
async fn diagnosis_reports_missing_cluster_permissions_with_the_acl_command_that_grants_them() {
    let redis = RedisCluster::start(2, 0).await;
    for number in 0..2 {
        let user = "ACL SETUSER tee on >s3cret ~session:* ~subject:* +@all -asking -cluster|slots";
        redis
            .node(number)
            .command(&user.split(' ').collect::<Vec<_>>())
            .await;
    }
    let url = redis.url().replace("//", "//tee:s3cret@");
    let lacking = run_diagnosis(&settings(&url), RequiredPermissions::default()).await;
    let refused = only_finding(&lacking, Check::Permissions);
    let advice = refused.advice.as_deref().unwrap();
    assert_eq!(advice, "in Redis: ACL SETUSER tee +cluster|slots");
    for number in 0..2 {
        let user = ["ACL", "SETUSER", "tee", "+cluster|slots"];
        redis.node(number).command(&user).await;
    }
    let lacking = run_diagnosis(&settings(&url), RequiredPermissions::default()).await;
    let refused = only_finding(&lacking, Check::Permissions);
    let advice = refused.advice.as_deref().unwrap();
    assert_eq!(advice, "in Redis: ACL SETUSER tee +asking");
    assert_eq!(
        (refused.verdict, refused.servers.len()),
        (Verdict::Error, 2)
    );
}

#[tokio::test]
async fn diagnosis_reports_an_error_if_a_cluster_url_names_a_standalone_server() {
    let redis = RedisProcess::start().await;
    let url = format!("redis-cluster://127.0.0.1:{}", redis.port());
    let found = run_diagnosis(&settings(&url), RequiredPermissions::default()).await;
    let refused = only_finding(&found, Check::Cluster);
    assert_eq!(refused.verdict, Verdict::Error);
    assert!(
        refused.what.contains("not a server of a cluster"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn diagnosis_checks_the_primary_and_every_sentinel() {
    let redis = RedisSentinels::start_with(1, &["--appendonly", "yes"]).await;
    let url = redis.url();
    let sound = run_diagnosis(&settings(&url), RequiredPermissions::default()).await;
    assert_eq!(worst_verdict(&sound), Verdict::Fine, "{sound:#?}");
    assert_eq!(only_finding(&sound, Check::Sentinel).servers.len(), 3);
    let primary = format!("127.0.0.1:{}", redis.server(0).port());
    assert_eq!(only_finding(&sound, Check::Writes).servers, [primary]);

    let name = url.split("sentinelServiceName=").nth(1).unwrap();
    let name = name.split('&').next().unwrap();
    let service = format!("sentinelServiceName={name}");
    let another = url.replace(&service, "sentinelServiceName=another");
    let unknown = run_diagnosis(&settings(&another), RequiredPermissions::default()).await;
    let refused = only_finding(&unknown, Check::Sentinel);
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
    let without_one = run_diagnosis(&settings(&url), RequiredPermissions::default()).await;
    assert_eq!(
        worst_verdict(&without_one),
        Verdict::Warning,
        "{without_one:#?}"
    );
    assert_eq!(
        only_finding(&without_one, Check::Writes).verdict,
        Verdict::Fine
    );
}

#[tokio::test]
async fn diagnosis_of_a_single_server_url_that_names_a_sentinel_advises_another_url_scheme() {
    let redis = RedisSentinels::start().await;
    let url = format!("redis://127.0.0.1:{}", redis.sentinel(0).port());
    let found = run_diagnosis(&settings(&url), RequiredPermissions::default()).await;
    let refused = only_finding(&found, Check::Role);
    assert_eq!(refused.verdict, Verdict::Error);
    assert!(
        refused
            .advice
            .as_deref()
            .unwrap()
            .contains("redis-sentinel:")
    );
}
