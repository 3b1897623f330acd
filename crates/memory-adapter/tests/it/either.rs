//! Tests of `Either`, which forwards all calls to one of two repositories.

use std::time::Duration;

use rstest::rstest;
use tee_session_domain::{
    Either, SessionRepository, SessionToken, StoreInstance, StoreKey, contract::Harness,
};
use tee_session_memory_adapter::MemoryRepository;

use crate::Embedded;

type Chosen = Either<MemoryRepository, MemoryRepository>;

/// Harness with a repository that is chosen at run time.
struct ChosenHarness {
    embedded: Embedded,
    choose: fn(MemoryRepository) -> Chosen,
}

impl ChosenHarness {
    fn new(choose: fn(MemoryRepository) -> Chosen) -> Self {
        Self {
            embedded: Embedded(MemoryRepository::default()),
            choose,
        }
    }
}

impl Harness for ChosenHarness {
    type Repository = Chosen;

    fn repository(&self) -> Chosen {
        (self.choose)(self.embedded.repository())
    }

    async fn pass(&self, duration: Duration) {
        self.embedded.pass(duration).await;
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

mod left {
    use super::*;

    tee_session_domain::contract_suite! {
        test = #[tokio::test],
        harness = ChosenHarness::new(Either::left),
    }
}

mod right {
    use super::*;

    tee_session_domain::contract_suite! {
        test = #[tokio::test],
        harness = ChosenHarness::new(Either::right),
    }
}

/// A repository that overrides methods with a default implementation, so that their results differ
/// from the defaults.
struct Unusual(MemoryRepository);

impl tee_session_domain::RepositoryLayer for Unusual {
    type Inner = MemoryRepository;

    fn inner(&self) -> &MemoryRepository {
        &self.0
    }

    fn is_partitioned(&self) -> bool {
        true
    }

    fn instance(&self) -> Option<StoreInstance> {
        Some(StoreInstance(7))
    }

    fn store_keys(&self, _token: &SessionToken) -> Vec<StoreKey> {
        vec![StoreKey::new(b"key")]
    }
}

#[rstest]
#[case::left(Either::left)]
#[case::right(Either::right)]
fn either_forwards_methods_that_have_a_default_implementation(
    #[case] choose: fn(Unusual) -> Either<Unusual, Unusual>,
) {
    let chosen = choose(Unusual(MemoryRepository::default()));
    assert!(chosen.is_partitioned());
    assert_eq!(chosen.instance(), Some(StoreInstance(7)));
    let keys = chosen.store_keys(&SessionToken::generate());
    assert_eq!(keys, [StoreKey::new(b"key")]);
}
