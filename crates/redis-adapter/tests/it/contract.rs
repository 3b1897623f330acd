//! Tests of the Redis repository with the contract suite: the tests that every session repository
//! must pass. The suite runs on a single Redis server and on a cluster.

use std::time::Duration;

use tee_session_domain::{SessionRepository, SessionToken, contract::Harness};
use tee_session_redis_adapter::{RedisRepository, RedisSettings, StorageFormat};
use tee_session_test_support::{RedisCluster, TestRedis};
use tokio::sync::Mutex;

use crate::{connect_with, settings};

mod sealed {
    use super::*;

    tee_session_domain::contract_suite! {
        test = #[tokio::test],
        harness = RealRedis::start(|settings| settings).await,
    }
}

mod plain {
    use super::*;

    tee_session_domain::contract_suite! {
        test = #[tokio::test],
        harness = RealRedis::start(|settings| settings.with_storage_format(StorageFormat::Plain)).await,
    }
}

mod accepting_plain {
    use super::*;

    tee_session_domain::contract_suite! {
        test = #[tokio::test],
        harness = RealRedis::start(|settings| settings.accepting_plain().unwrap()).await,
    }
}

mod clustered {
    use super::*;

    tee_session_domain::contract_suite! {
        test = #[tokio::test],
        harness = RealRedis::start_cluster(StorageFormat::Sealed).await,
    }
}

mod clustered_plain {
    use super::*;

    tee_session_domain::contract_suite! {
        test = #[tokio::test],
        harness = RealRedis::start_cluster(StorageFormat::Plain).await,
    }
}

/// Redis servers of a harness. With one harness type for both kinds, the rules are compiled only
/// once.
enum Servers {
    Single(TestRedis),
    Cluster(RedisCluster),
}

struct RealRedis {
    servers: Mutex<Servers>,
    repository: RedisRepository,
}

impl RealRedis {
    async fn start(choose: impl FnOnce(RedisSettings) -> RedisSettings) -> Self {
        let server = TestRedis::start().await;
        let settings = choose(settings(server.url()));
        Self::connect(Servers::Single(server), &settings).await
    }

    async fn start_cluster(format: StorageFormat) -> Self {
        let cluster = RedisCluster::start(2, 0).await;
        let settings = settings(&cluster.url()).with_storage_format(format);
        Self::connect(Servers::Cluster(cluster), &settings).await
    }

    async fn connect(servers: Servers, settings: &RedisSettings) -> Self {
        Self {
            servers: Mutex::new(servers),
            repository: connect_with(settings).await,
        }
    }
}

impl Harness for RealRedis {
    type Repository = RedisRepository;

    fn repository(&self) -> RedisRepository {
        self.repository.clone()
    }

    /// Sleeps for `duration`. Redis expires keys by the clock of its server, which cannot be
    /// advanced.
    async fn pass(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn lose_store(&self) -> bool {
        match &mut *self.servers.lock().await {
            Servers::Single(server) => server.lose().await,
            Servers::Cluster(cluster) => {
                for n in 0..2 {
                    cluster.node_mut(n).kill().await;
                }
            }
        }
        true
    }

    async fn hang_store(&self) -> bool {
        match &mut *self.servers.lock().await {
            Servers::Single(server) => server.hang().await,
            Servers::Cluster(cluster) => {
                for n in 0..2 {
                    cluster.node(n).pause();
                }
            }
        }
        true
    }

    async fn damage(&self, token: &SessionToken) -> bool {
        for key in keys_of(&self.repository, token) {
            match &*self.servers.lock().await {
                Servers::Single(server) => server.overwrite(&key, "not a session").await,
                Servers::Cluster(cluster) => {
                    let primary = cluster.node(cluster.primary_of(&key));
                    let command = ["SET", &key, "not a session", "XX", "KEEPTTL"];
                    primary.command(&command).await;
                }
            }
        }
        true
    }
}

/// Returns all keys under which the record of the session can be stored.
fn keys_of(repository: &RedisRepository, token: &SessionToken) -> Vec<String> {
    let keys = repository.store_keys(token);
    let keys = keys.iter().map(|key| key.expose_secret().to_vec());
    keys.map(|key| String::from_utf8(key).unwrap()).collect()
}
