//! Somebody who guesses tokens, and claims to be many.

use anyhow::Context;
use futures_util::{StreamExt, stream};
use reqwest::{Client, StatusCode};

use crate::tally::Tally;

/// Far more than both instances let one address have at once (`invalid_token_burst`), and in the seconds
/// that it takes on a slow machine.
const MOST_GUESSES: u32 = 20_000;

const AT_ONCE: usize = 32;

/// The limit on invalid tokens holds behind the proxy: it counts addresses, and none can be forged.
pub(crate) async fn check_that_they_are_limited(
    url: &str,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let client = Client::new();
    let guess = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        client
            .get(format!("{url}/v1/session"))
            .bearer_auth(format!("guess-{number}"))
            .header("X-Forwarded-For", format!("203.{a}.{b}.{c}"))
            .send()
    };
    let mut answers = stream::iter(0..MOST_GUESSES)
        .map(guess)
        .buffer_unordered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        match answer.context("a guess was not answered")?.status() {
            StatusCode::UNAUTHORIZED => {}
            StatusCode::TOO_MANY_REQUESTS => return Ok(()),
            status => tally.violated(format!("a guess was answered {status}")),
        }
    }
    tally.violated("forged addresses were believed: no guess of so many was limited");
    Ok(())
}
