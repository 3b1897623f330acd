//! What one sentinel says, and what follows from what all of them say.

use std::{collections::HashMap, time::Duration};

use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, config::Options},
};
use futures_util::future::try_join;
use tokio::time::Instant;

use super::{COMMAND, ConnectFault};
use crate::{RedisFault, address::Address};

/// What a sentinel said counts for so long.
const FRESH: Duration = Duration::from_secs(1);

/// While a failover is in one of these states, a replica is being made the primary, and what the
/// old one takes may be lost. Before them nothing has been decided; after them the new one is
/// named.
const DECIDING: [&str; 3] = ["select_slave", "send_slaveof_noone", "wait_promotion"];

/// What one sentinel says.
#[derive(Debug, Clone)]
pub(super) struct View {
    primary: Address,
    /// It grows with each failover: who has the higher one knows of a later one.
    epoch: u64,
    is_failing_over: bool,
    seen: Instant,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Primary(Address),
    /// One of them is making another server the primary.
    FailingOver,
    /// None of them said anything lately.
    Unknown,
}

impl View {
    pub(super) async fn ask(client: &Client, service: &str) -> Result<Self, ConnectFault> {
        let options = Options {
            fail_fast: true,
            ..Options::default()
        };
        let client = client.with_options(&options);
        let ask = |question| {
            let command = CustomCommand::new_static(COMMAND, ClusterHash::Random, false);
            (command, vec![question, service])
        };
        let (about, address) = (ask("MASTER"), ask("GET-MASTER-ADDR-BY-NAME"));
        // During a failover the first goes on naming the old one.
        let (about, address): (HashMap<String, String>, Option<(String, u16)>) = try_join(
            Box::pin(client.custom(about.0, about.1)),
            Box::pin(client.custom(address.0, address.1)),
        )
        .await
        .map_err(|error| match RedisFault::new(COMMAND, &error) {
            // What a sentinel says to a name that it does not know.
            RedisFault::Refused { code, .. } if code == "ERR" => ConnectFault::UnknownService,
            fault => ConnectFault::Redis(fault),
        })?;
        let (host, port) = address.ok_or(ConnectFault::UnknownService)?;
        let epoch = about
            .get("config-epoch")
            .and_then(|epoch| epoch.parse().ok());
        let state = about.get("failover-state").map(String::as_str);
        Ok(Self {
            primary: Address { host, port },
            epoch: epoch.unwrap_or(0),
            is_failing_over: state.is_some_and(|state| DECIDING.contains(&state)),
            seen: Instant::now(),
        })
    }
}

/// The latest failover counts, as it does among the sentinels; of those that know of none, most.
pub(super) fn verdict(views: &[Option<View>], now: Instant) -> Verdict {
    let is_fresh = |view: &&View| now.saturating_duration_since(view.seen) < FRESH;
    let fresh: Vec<_> = views.iter().flatten().filter(is_fresh).collect();
    if fresh.iter().any(|view| view.is_failing_over) {
        return Verdict::FailingOver;
    }
    let votes = |view: &View| {
        let same = |other: &&&View| other.primary == view.primary && other.epoch == view.epoch;
        fresh.iter().filter(same).count()
    };
    // Of equals the first in the order of the URL, always the same one.
    let best = fresh
        .iter()
        .rev()
        .max_by_key(|view| (view.epoch, votes(view)));
    best.map_or(Verdict::Unknown, |view| {
        Verdict::Primary(view.primary.clone())
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn view(port: u16, epoch: u64) -> Option<View> {
        Some(View {
            primary: Address::new("redis", port),
            epoch,
            is_failing_over: false,
            seen: Instant::now(),
        })
    }

    fn failing_over(port: u16) -> Option<View> {
        view(port, 0).map(|view| View {
            is_failing_over: true,
            ..view
        })
    }

    fn stale(port: u16, epoch: u64) -> Option<View> {
        view(port, epoch).map(|view| View {
            seen: Instant::now() - 2 * FRESH,
            ..view
        })
    }

    fn named(port: u16) -> Verdict {
        Verdict::Primary(Address::new("redis", port))
    }

    #[rstest]
    #[case::nobody(&[None, None], Verdict::Unknown)]
    #[case::one_of_three(&[None, view(1, 0), None], named(1))]
    #[case::most(&[view(2, 0), view(1, 0), view(1, 0)], named(1))]
    #[case::the_latest_failover_against_most(&[view(1, 3), view(2, 4), view(1, 3)], named(2))]
    #[case::equals_in_their_order(&[view(2, 1), view(1, 1)], named(2))]
    #[case::one_is_choosing(&[view(1, 0), view(1, 0), failing_over(1)], Verdict::FailingOver)]
    #[case::what_was_said_long_ago(&[stale(2, 9), view(1, 0)], named(1))]
    #[case::all_long_ago(&[stale(1, 0)], Verdict::Unknown)]
    fn what_follows(#[case] views: &[Option<View>], #[case] expected: Verdict) {
        assert_eq!(verdict(views, Instant::now()), expected);
    }
}
