//! What fred does by itself when things go wrong: why the adapter makes a client for one life, and
//! supervises it from outside. Should a later fred pass none of these any more, that can go.

use std::time::{Duration, Instant};

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, KeysInterface},
    types::{
        Builder,
        config::{Config, Options, ReconnectPolicy, UnresponsiveConfig},
    },
};
use futures_util::future::join_all;
use tee_session_test_support::{Fault, FaultProxy, RedisCluster, RedisProcess, eventually};
use tokio::time::{sleep, timeout};

const TIMEOUT: Duration = Duration::from_millis(200);

/// Longer than a client needs to come back if it ever does.
const NEVER: Duration = Duration::from_secs(3);

/// A client that reconnects by itself, each 50 milliseconds and for ever.
async fn reconnecting(url: &str, set: impl FnOnce(&mut Builder)) -> Client {
    let mut builder = Builder::from_config(Config::from_url(url).unwrap());
    builder.with_connection_config(|connection| connection.reconnect_on_auth_error = true);
    builder.with_performance_config(|performance| performance.default_command_timeout = TIMEOUT);
    builder.set_policy(ReconnectPolicy::new_constant(0, 50));
    set(&mut builder);
    let client = builder.build().unwrap();
    client.init().await.unwrap();
    client
}

async fn get(client: &Client) -> Result<Option<String>, Error> {
    client.get("key").await
}

/// Every write counts as a sign of life: with traffic, a peer that takes bytes and never answers is
/// not found out, however often commands time out. The heartbeats of the supervisor do find it out
/// (`network_faults.rs`).
#[tokio::test]
async fn its_watch_over_silent_peers_sees_nothing_while_commands_are_sent() {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let client = reconnecting(&format!("redis://{}", proxy.address()), |builder| {
        builder.with_connection_config(|connection| {
            connection.unresponsive = UnresponsiveConfig {
                max_timeout: Some(Duration::from_millis(500)),
                interval: Duration::from_millis(100),
            };
        });
    })
    .await;
    proxy.set(Fault::SwallowRequests);
    let began = Instant::now();
    while began.elapsed() < NEVER {
        assert!(get(&client).await.is_err());
        assert!(client.is_connected());
    }
}

/// A full bounded queue swallows fred's own message that the connection is gone.
#[tokio::test]
async fn its_bounded_queue_can_end_a_client_for_good() {
    const TRIES: usize = 20;
    let mut dead = 0;
    for _ in 0..TRIES {
        let mut redis = RedisProcess::start().await;
        let client = reconnecting(&redis.url(), |builder| {
            builder.with_connection_config(|connection| connection.max_command_buffer_len = 10);
        })
        .await;
        let flood: Vec<_> = (0..50)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    loop {
                        let _ = get(&client).await;
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        redis.kill().await;
        sleep(Duration::from_millis(100)).await;
        redis.start_again().await;
        sleep(Duration::from_millis(300)).await;
        flood.iter().for_each(tokio::task::JoinHandle::abort);
        let came_back = timeout(NEVER, async {
            while get(&client).await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        });
        dead += usize::from(came_back.await.is_err());
        if dead > 0 {
            break;
        }
    }
    assert!(dead > 0, "not once in {TRIES} times");
}

/// Its first pause after a lost connection still counts as connected.
#[tokio::test]
async fn it_says_connected_while_it_is_not() {
    let mut redis = RedisProcess::start().await;
    let client = reconnecting(&redis.url(), |builder| {
        builder.set_policy(ReconnectPolicy::new_constant(0, 500));
    })
    .await;
    redis.kill().await;
    let (mut connected, mut asked, began) = (0, 0, Instant::now());
    while began.elapsed() < Duration::from_millis(300) {
        connected += u32::from(client.is_connected());
        asked += 1;
        sleep(Duration::from_millis(1)).await;
    }
    assert!(connected * 2 > asked, "{connected} of {asked}");
}

/// What was in flight when the connection broke is sent again: a command can answer for its own
/// first attempt.
#[tokio::test]
async fn it_replays_a_delete_that_was_carried_out_and_says_that_there_was_nothing() {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let client = reconnecting(&format!("redis://{}", proxy.address()), |builder| {
        builder.with_performance_config(|performance| {
            performance.default_command_timeout = NEVER;
        });
    })
    .await;
    let delete = async |attempts| {
        let _: () = client.set("key", "value", None, None, false).await.unwrap();
        proxy.set(Fault::ResetAfter(0));
        let options = Options {
            max_attempts: Some(attempts),
            ..Options::default()
        };
        let once = client.with_options(&options);
        let deleted = once.del::<i64, _>("key");
        let heal = async {
            sleep(Duration::from_millis(30)).await;
            proxy.set(Fault::None);
        };
        let (deleted, ()) = tokio::join!(deleted, heal);
        deleted
    };
    assert_eq!(delete(3).await.unwrap(), 0);
    eventually(NEVER, async || get(&client).await.is_ok()).await;
    assert_eq!(*delete(1).await.unwrap_err().kind(), ErrorKind::IO);
}

/// The cluster client looks at the topology through all primaries: one that is away keeps it from
/// serving the others.
#[tokio::test]
async fn its_cluster_client_serves_nobody_while_one_primary_is_away() {
    let mut cluster = RedisCluster::start(3, 0).await;
    let client = reconnecting(&cluster.url(), |_| {}).await;
    cluster.node_mut(1).kill().await;
    // One command for the lost primary is enough.
    let lost = ["a", "b", "c", "d"]
        .into_iter()
        .find(|key| cluster.primary_of(key) == 1);
    let _ = client.get::<Option<String>, _>(lost.unwrap()).await;
    sleep(Duration::from_millis(500)).await;
    let (mut served, began) = (0, Instant::now());
    while began.elapsed() < NEVER {
        for key in ["a", "b", "c", "d", "e", "f"] {
            served += u32::from(client.get::<Option<String>, _>(key).await.is_ok());
        }
    }
    assert_eq!(served, 0);
}

/// A slot on the move ends its service for all the others as well.
#[tokio::test]
async fn its_cluster_client_serves_nobody_any_more_once_it_was_told_to_ask() {
    let cluster = RedisCluster::start(2, 0).await;
    let client = reconnecting(&cluster.url(), |_| {}).await;
    let keys: Vec<_> = (0..200).map(|n| format!("{{{}}}key{n}", n % 8)).collect();
    for key in &keys {
        let _: () = client.set(key, key, None, None, false).await.unwrap();
    }
    let slot = RedisCluster::slot_of(&keys[0]);
    let from = cluster.primary_of(&keys[0]);
    cluster.begin_move(slot, from, 1 - from).await;
    cluster.move_keys(slot, from, 1 - from).await;
    let (mut served, mut rounds) = (0, 0);
    while rounds < 10 {
        let all = keys.iter().map(|key| client.get::<Option<String>, _>(key));
        for (key, value) in keys.iter().zip(join_all(all).await) {
            served += usize::from(value.is_ok_and(|value| value.as_ref() == Some(key)));
        }
        rounds += 1;
    }
    // Seven of eight keys are in slots that stay where they are.
    assert!(served < rounds * keys.len() / 2, "{served}");
}
