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
        harness = RealCluster::start(StorageFormat::Sealed).await,
    }
}

mod clustered_plain {
    use super::*;

    tee_session_domain::contract_suite! {
        test = #[tokio::test],
        harness = RealCluster::start(StorageFormat::Plain).await,
    }
}

struct RealCluster {
    cluster: Mutex<RedisCluster>,
    repository: RedisRepository,
}

impl RealCluster {
    async fn start(format: StorageFormat) -> Self {
        let cluster = RedisCluster::start(2, 0).await;
        let settings = settings(&cluster.url()).with_storage_format(format);
        let repository = connect_with(&settings).await;
        Self {
            cluster: Mutex::new(cluster),
            repository,
        }
    }
}

impl Harness for RealCluster {
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
        let mut cluster = self.cluster.lock().await;
        for n in 0..2 {
            cluster.node_mut(n).kill().await;
        }
        true
    }

    async fn hang_store(&self) -> bool {
        let cluster = self.cluster.lock().await;
        for n in 0..2 {
            cluster.node(n).pause();
        }
        true
    }

    async fn damage(&self, token: &SessionToken) -> bool {
        let cluster = self.cluster.lock().await;
        for key in keys_of(&self.repository, token) {
            let primary = cluster.node(cluster.primary_of(&key));
            let command = ["SET", &key, "not a session", "XX", "KEEPTTL"];
            primary.command(&command).await;
        }
        true
    }
}

struct RealRedis {
    server: Mutex<TestRedis>,
    repository: RedisRepository,
}

impl RealRedis {
    async fn start(choose: impl FnOnce(RedisSettings) -> RedisSettings) -> Self {
        let server = TestRedis::start().await;
        let repository = connect_with(&choose(settings(server.url()))).await;
        Self {
            server: Mutex::new(server),
            repository,
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
        self.server.lock().await.lose().await;
        true
    }

    async fn hang_store(&self) -> bool {
        self.server.lock().await.hang().await;
        true
    }

    async fn damage(&self, token: &SessionToken) -> bool {
        let server = self.server.lock().await;
        for key in keys_of(&self.repository, token) {
            server.overwrite(&key, "not a session").await;
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
