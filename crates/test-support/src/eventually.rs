//! Waiting for a condition.

use std::time::{Duration, Instant};

/// Asks `condition` again and again until it holds, and fails after `within`. Gives back how
/// long it took.
pub async fn eventually(within: Duration, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(
            started.elapsed() < within,
            "the condition did not hold within {within:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    started.elapsed()
}
