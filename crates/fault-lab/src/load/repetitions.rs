//! Requests with an `Idempotency-Key`. A test client repeats these requests until they succeed.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

use super::shared::Shared;

/// Time for which a client repeats a request. If an instance is killed while it carries out the
/// request, its lease on the idempotency record remains. Until the lease ends, repetitions are
/// answered with 409. With the default command timeout, the lease is 9 s, so this time is longer.
const REPEATED_FOR: Duration = Duration::from_secs(12);

/// Pause before a request is repeated with the same `Idempotency-Key`.
const PAUSE: Duration = Duration::from_millis(200);

/// The final response to a request. If the client sent the request once more after its success,
/// also contains the token in the response to this repetition.
pub(super) struct Repeated {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    /// Token in the response to one further repetition of the successful request. `None` if there
    /// was no further repetition, or if the further repetition failed.
    pub(super) replayed: Option<String>,
}

impl Repeated {
    /// Creates the value for a final response after which the client has sent no repetition.
    pub(super) fn once((status, body): (StatusCode, Value)) -> Self {
        Self {
            status,
            body,
            replayed: None,
        }
    }
}

/// Sends the request that `request` builds, with a new `Idempotency-Key`. Repeats the request with
/// the same key, possibly at another instance, until the response has the status `expected` or 401,
/// or until [`REPEATED_FOR`] has passed. Returns the last response, or `None` if the last attempt
/// got no response. After 25 % of the successes, sends the request once more, only for
/// [`Repeated::replayed`].
pub(super) async fn send(
    shared: &Shared,
    request: impl Fn() -> RequestBuilder,
    expected: StatusCode,
) -> Option<Repeated> {
    let key = format!("{:032x}", fastrand::u128(..));
    let send = || shared.send(request().header("Idempotency-Key", &key), expected);
    let started = Instant::now();
    loop {
        let response = send().await;
        let status = response.as_ref().map(|(status, _)| *status);
        if status == Some(expected) {
            let mut repeated = response.map(Repeated::once)?;
            if fastrand::u8(..4) == 0 {
                let replay = send().await.filter(|(status, _)| *status == expected);
                let token = |(_, body): (_, Value)| Some(body["access_token"].as_str()?.to_owned());
                repeated.replayed = replay.and_then(token);
            }
            return Some(repeated);
        }
        let is_late = started.elapsed() >= REPEATED_FOR || shared.is_stopped();
        if is_late || status == Some(StatusCode::UNAUTHORIZED) {
            return response.map(Repeated::once);
        }
        sleep(PAUSE).await;
    }
}
