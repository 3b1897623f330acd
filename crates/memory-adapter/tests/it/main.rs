//! Tests of the memory adapter (contract suite), tests of the session manager with a store in
//! memory, and tests of the contract suite itself with adapters that have a fault or no subject
//! index.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod attempts;
mod either;
mod index_renewals;
mod manager;
mod mutants;
mod session_events;
mod with_index;
mod without_subjects;

use std::time::Duration;

use tee_session_domain::{SessionRepository, SessionToken, contract::Harness};
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

    async fn hang_store(&self) -> bool {
        false
    }

    async fn damage(&self, _token: &SessionToken) -> bool {
        false
    }
}

tee_session_domain::contract_suite! {
    test = #[tokio::test],
    harness = Embedded(MemoryRepository::default()),
}
