//! Test that the contract suite accepts an adapter without a subject index.

use std::time::Duration;

use tee_session_domain::{NoSubjects, SessionToken, contract::Harness};
use tee_session_memory_adapter::MemoryRepository;

use crate::with_index::WithIndex;

tee_session_domain::contract_suite! {
    test = #[tokio::test],
    harness = WithoutSubjects::new(),
    subjects = none,
}

struct WithoutSubjects(WithIndex<NoSubjects>);

impl WithoutSubjects {
    fn new() -> Self {
        Self(WithIndex {
            inner: MemoryRepository::default(),
            index: NoSubjects,
        })
    }
}

impl Harness for WithoutSubjects {
    type Repository = WithIndex<NoSubjects>;

    fn repository(&self) -> Self::Repository {
        self.0.clone()
    }

    async fn pass(&self, duration: Duration) {
        self.0.advance_clock(duration);
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
