//! Tests of the memory adapter: session lifecycle events, and the tests that every session
//! repository must pass (contract suite).
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod session_events;

use std::time::Duration;

use tee_session_domain::{SessionRepository, contract::Harness};
use tee_session_memory_adapter::MemoryRepository;

struct Embedded(MemoryRepository);

impl Harness for Embedded {
    type Repository = MemoryRepository;

    fn repository(&self) -> MemoryRepository {
        self.0.clone()
    }

    async fn pass(&self, duration: Duration) {
        self.0.clock().set(self.0.now() + duration);
    }

    async fn lose_store(&self) -> bool {
        false
    }
}

tee_session_domain::contract_suite! {
    test = #[tokio::test],
    harness = Embedded(MemoryRepository::default()),
}
