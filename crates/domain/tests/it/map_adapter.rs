//! Runs the contract suite against the example of an adapter, `examples/map_adapter`. The README of
//! the crate shows the code of this file that readers copy: from the first `use` to the call of
//! `contract_suite!`.

#[allow(unreachable_pub, reason = "the adapter is to be copied into a library")]
#[path = "../../examples/map_adapter/adapter.rs"]
mod my_store;

use std::time::Duration;

use my_store::MapRepository;
use tee_session_domain::{SessionId, SessionRepository, SessionToken, contract::Harness};

struct Map(MapRepository);

impl Harness for Map {
    type Repository = MapRepository;

    fn repository(&self) -> MapRepository {
        self.0.clone()
    }

    async fn pass(&self, duration: Duration) {
        self.0.1.set(self.0.now() + duration);
    }

    // The map is in the test process, so it can neither become unreachable nor hang.
    async fn lose_store(&self) -> bool {
        false
    }

    async fn hang_store(&self) -> bool {
        false
    }

    async fn damage(&self, token: &SessionToken) -> bool {
        let mut records = self.0.0.lock().expect("no thread panics with the lock");
        let record = records.get_mut(&SessionId::of(token));
        record.expect("the session is stored").0 = b"not a session".to_vec();
        true
    }
}

tee_session_domain::contract_suite! {
    test = #[tokio::test],
    harness = Map(MapRepository::default()),
    subjects = none,
    idempotency = none,
}

#[test]
fn example_of_an_adapter_has_fewer_than_100_lines_of_code() {
    let lines = include_str!("../../examples/map_adapter/adapter.rs").lines();
    let code = lines.filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//"));
    assert!(code.count() < 100);
}

/// The README shows the code as text, which is not compiled. This file compiles the same code.
#[test]
fn readme_contains_the_code_that_runs_the_contract_suite() {
    let (_, fence) = include_str!("../../README.md")
        .split_once("\n```text\nuse ")
        .expect("the README contains the code");
    let (shown, _) = fence.split_once("```").expect("the block has an end");
    assert!(
        include_str!("map_adapter.rs").contains(&format!("\nuse {shown}")),
        "README.md and tests/it/map_adapter.rs differ. Copy the code from the test to the README."
    );
}
