//! A function that waits for a condition instead of sleeping for a fixed time.

use std::time::{Duration, Instant};

/// Polls `condition` every 10 ms until it returns `true`, and returns the elapsed time. Panics if
/// `condition` still returns `false` after the time `within`.
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
