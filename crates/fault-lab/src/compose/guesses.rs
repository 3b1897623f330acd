//! Test client that sends guessed session tokens with a different forged IP address in each
//! request. The service must limit the rate of the guesses.

use anyhow::Context;
use futures_util::{StreamExt, stream};
use reqwest::{Client, StatusCode};

use crate::tally::Tally;

/// Maximum number of guessed tokens. If no guess is answered with 429, the check fails.
///
/// Each instance answers the first `invalid_token_burst` invalid tokens of one address with 401,
/// and after that `invalid_token_limit` invalid tokens per second. The maximum is high enough to
/// exceed these limits, even if a slow machine needs many seconds to send all guesses.
const MAX_GUESSES: u32 = 20_000;

/// Number of guesses that are in flight at the same time.
const CONCURRENCY: usize = 32;

/// Checks that guessed tokens are answered with 429 when the limit on invalid tokens of one client
/// address is reached. Each request has a different forged `X-Forwarded-For` header. The service
/// must not use the forged address as the client address.
pub(crate) async fn check_rate_limit(url: &str, tally: &mut Tally) -> anyhow::Result<()> {
    let client = Client::new();
    let guess = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        client
            .get(format!("{url}/v1/session"))
            .bearer_auth(format!("guess-{number}"))
            .header("X-Forwarded-For", format!("203.{a}.{b}.{c}"))
            .send()
    };
    let mut responses = stream::iter(0..MAX_GUESSES)
        .map(guess)
        .buffer_unordered(CONCURRENCY);
    while let Some(response) = responses.next().await {
        match response
            .context("a request with a guessed token failed")?
            .status()
        {
            StatusCode::UNAUTHORIZED => {}
            StatusCode::TOO_MANY_REQUESTS => return Ok(()),
            status => tally.add_violation(format!("a guessed token was answered with {status}")),
        }
    }
    tally.add_violation("forged addresses were accepted: guesses were not limited");
    Ok(())
}
