//! The contract suite.

use std::time::Duration;

use tee_session_domain::contract::Harness;
use tee_session_redis_adapter::RedisRepository;
use tee_session_test_support::TestRedis;
use tokio::sync::Mutex;

use crate::connected;

struct RealRedis {
    server: Mutex<TestRedis>,
    repository: RedisRepository,
}

impl RealRedis {
    async fn start() -> Self {
        let server = TestRedis::start().await;
        let repository = connected(server.url()).await;
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

    /// Expiry is decided by the clock of Redis, which cannot be moved.
    async fn pass(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn lose_store(&self) -> bool {
        self.server.lock().await.lose().await;
        true
    }
}

tee_session_domain::contract_suite! {
    test = #[tokio::test],
    harness = RealRedis::start().await,
}
