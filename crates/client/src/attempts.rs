//! What is tried again, when, and for how long.

use std::time::Duration;

use reqwest::Request;
use tokio::time::{Instant, sleep};

use crate::{ClientError, answer::Answer};

/// The wait before a second attempt takes up to this long; before each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What may be sent a second time. What was never sent, because there was no connection, always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// A second time does no harm, and has the same answer.
    Harmless,
    /// A second time does no harm, but finds nothing if the first one was carried out.
    UntilGone,
    /// A second time would do more, or undo what others did in between.
    Never,
}

/// Bounds of each call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of one attempt.
    pub(crate) timeout: Duration,
    /// Of all attempts and the waiting between them.
    pub(crate) deadline: Duration,
    pub(crate) attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(10),
            attempts: 3,
        }
    }
}

impl Limits {
    pub(crate) async fn send(
        self,
        http: &reqwest::Client,
        request: &Request,
        repetition: Repetition,
    ) -> Result<Answer, ClientError> {
        let began = Instant::now();
        let mut may_be_done = false;
        let mut attempt = 1;
        loop {
            let left = self.deadline.saturating_sub(began.elapsed());
            let outcome = try_once(http, request, self.timeout.min(left)).await;
            let error = match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if repetition == Repetition::UntilGone && may_be_done && error.says_gone() {
                return Ok(Answer::empty());
            }
            may_be_done |= error.outcome_is_unknown();
            let may_repeat = match &error {
                ClientError::Connect { .. } => true,
                error => repetition != Repetition::Never && error.is_retryable(),
            };
            // What the service asks for is never cut short: it is waited for, or left to the caller.
            let asked_for = error.retry_after().unwrap_or_default();
            let wait = asked_for.saturating_add(jitter(attempt));
            let too_late = began.elapsed().saturating_add(wait) >= self.deadline;
            if !may_repeat || attempt >= self.attempts || too_late {
                return Err(error);
            }
            sleep(wait).await;
            attempt += 1;
        }
    }
}

async fn try_once(
    http: &reqwest::Client,
    request: &Request,
    timeout: Duration,
) -> Result<Answer, ClientError> {
    let copy = request.try_clone();
    let mut request = copy.ok_or_else(|| ClientError::unsent("the request cannot be copied"))?;
    *request.timeout_mut() = Some(timeout);
    Answer::read(http.execute(request).await?).await
}

/// Anything between nothing and a bound that doubles: clients that failed together do not come back
/// together.
fn jitter(attempt: u32) -> Duration {
    let bound = FIRST_WAIT.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    bound.min(LONGEST_WAIT).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        for attempt in [1, 2, 5, 20, u32::MAX] {
            let waits = (0..1_000).map(|_| jitter(attempt));
            let longest = waits.max().unwrap_or_default();
            let bound = FIRST_WAIT * 2_u32.pow(attempt.min(20) - 1);
            assert!(longest <= bound.min(LONGEST_WAIT), "{attempt}: {longest:?}");
            assert!(
                longest > bound.min(LONGEST_WAIT) / 2,
                "{attempt}: {longest:?}"
            );
        }
    }
}
