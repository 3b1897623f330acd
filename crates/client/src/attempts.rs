//! Sends the request of a call, and retries the request after a transient failure. The limits of
//! the call set the timeout, the deadline and the number of attempts.

use std::time::Duration;

use reqwest::Request;
use tokio::time::{Instant, sleep};

use crate::{ClientError, response::SuccessResponse};

/// Upper limit of the random wait before the second attempt. The limit doubles for each further
/// attempt, up to [`MAX_WAIT`]. The random wait is added to the time in `Retry-After`.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Upper limit of the random wait before any attempt. The random wait is added to the time in
/// `Retry-After`.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Policy that decides if a request is sent again after a failure. If no connection could be
/// established, the request was not sent, so every policy allows a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryPolicy {
    /// Allows retries, because a second request has no further effect and gets the same response.
    Idempotent,
    /// Allows retries, because a second request cannot end another session. If an earlier attempt
    /// may have ended the session, a retry that finds no session counts as success.
    IdempotentDelete,
    /// Allows retries, because the request has an `Idempotency-Key`. The service carries out the
    /// operation at most once.
    WithKey,
    /// Forbids retries of a request that was sent. A second request would create another session or
    /// token, or could undo changes that other clients made between the two requests.
    Never,
}

/// Timeout, deadline and maximum number of attempts of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Timeout of one attempt, from the start of the connection to the end of the response.
    pub(crate) timeout: Duration,
    /// Maximum duration of a call, including all attempts and the waits between the attempts.
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
        retry_policy: RetryPolicy,
    ) -> Result<SuccessResponse, ClientError> {
        let started = Instant::now();
        // The last error of an attempt that the service may have carried out.
        let mut unknown = None;
        let mut attempt = 1;
        loop {
            let left = self.deadline.saturating_sub(started.elapsed());
            let outcome = send_once(http, request, self.timeout.min(left)).await;
            let error = match outcome {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            // If an earlier attempt may have ended the session, a response that reports a missing
            // session means success.
            if retry_policy == RetryPolicy::IdempotentDelete && unknown.is_some() && error.is_gone()
            {
                return Ok(SuccessResponse::empty());
            }
            let may_retry = match &error {
                ClientError::Connect { .. } => true,
                error => retry_policy != RetryPolicy::Never && error.is_retryable(),
            };
            // The service is still handling an earlier attempt, so this attempt has not failed.
            let has_failed = !error.is_in_progress();
            // The wait is never shorter than `Retry-After`. If the wait would exceed the deadline,
            // the call fails at once, and the application can wait and retry.
            let retry_after = error.retry_after().unwrap_or_default();
            let wait = retry_after.saturating_add(jitter(attempt));
            let too_late = started.elapsed().saturating_add(wait) >= self.deadline;
            let is_last = !may_retry || (has_failed && attempt >= self.attempts) || too_late;
            if error.outcome_is_unknown() {
                if is_last {
                    return Err(error);
                }
                unknown = Some(error);
            } else if is_last {
                // A temporary error of the last attempt shows nothing about the earlier attempts,
                // so their outcome is still unknown.
                let keeps_unknown = may_retry && retry_policy != RetryPolicy::Idempotent;
                return Err(unknown.filter(|_| keeps_unknown).unwrap_or(error));
            }
            sleep(wait).await;
            attempt += u32::from(has_failed);
        }
    }
}

async fn send_once(
    http: &reqwest::Client,
    request: &Request,
    timeout: Duration,
) -> Result<SuccessResponse, ClientError> {
    let copy = request.try_clone();
    let mut request = copy.ok_or_else(|| ClientError::unsent("the request cannot be copied"))?;
    *request.timeout_mut() = Some(timeout);
    SuccessResponse::read(http.execute(request).await?).await
}

/// Returns a random wait between zero and a maximum. The maximum doubles with each attempt, up to
/// [`MAX_WAIT`]. The randomness spreads the retries of clients whose requests failed at the same
/// time.
fn jitter(attempt: u32) -> Duration {
    let limit = FIRST_WAIT.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    limit.min(MAX_WAIT).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maximum_random_wait_before_a_retry_doubles_with_each_attempt_up_to_2_s() {
        for attempt in [1, 2, 5, 20, u32::MAX] {
            let waits = (0..1_000).map(|_| jitter(attempt));
            let longest = waits.max().unwrap_or_default();
            let limit = FIRST_WAIT * 2_u32.pow(attempt.min(20) - 1);
            assert!(longest <= limit.min(MAX_WAIT), "{attempt}: {longest:?}");
            assert!(longest > limit.min(MAX_WAIT) / 2, "{attempt}: {longest:?}");
        }
    }
}
