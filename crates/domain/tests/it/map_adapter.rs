//! Contract suite for the example of an adapter, `examples/map_adapter`.

#[path = "../../examples/map_adapter/adapter.rs"]
mod adapter;

use std::time::Duration;

use adapter::MapRepository;
use tee_session_domain::{SessionRepository, SessionToken, contract::Harness};

struct Map(MapRepository);

impl Harness for Map {
    type Repository = MapRepository;

    fn repository(&self) -> MapRepository {
        self.0.clone()
    }

    async fn pass(&self, duration: Duration) {
        self.0.1.set(self.0.now() + duration);
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

#[test]
fn example_of_an_adapter_has_fewer_than_100_lines_of_code() {
    let lines = include_str!("../../examples/map_adapter/adapter.rs").lines();
    let code = lines.filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//"));
    assert!(code.count() < 100);
}

tee_session_domain::contract_suite! {
    test = #[tokio::test],
    harness = Map(MapRepository::default()),
    subjects = none,
    idempotency = none,
}
