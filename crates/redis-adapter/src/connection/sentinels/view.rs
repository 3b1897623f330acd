//! What one sentinel says, and what follows from what all of them say.

use std::time::Duration;

use tokio::time::Instant;

use super::{Call, ConnectFault};
use crate::{
    RedisFault,
    address::Address,
    connection::{Command, Reply},
};

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
pub(crate) enum Verdict {
    Primary(Address),
    /// One of them is making another server the primary.
    FailingOver,
    /// None of them said anything lately.
    Unknown,
}

impl View {
    pub(super) fn primary(&self) -> &Address {
        &self.primary
    }

    pub(super) async fn ask(call: &Call, service: &str) -> Result<Self, ConnectFault> {
        let service = [service.as_bytes()];
        // During a failover the first goes on naming the old one.
        let questions = [
            Command::new("SENTINEL MASTER", &service),
            Command::new("SENTINEL GET-MASTER-ADDR-BY-NAME", &service),
        ];
        let answers = call.send(questions).await;
        let [about, address] = answers.map_err(ConnectFault::Redis)?;
        let about = about.list(questions[0].name).map_err(|fault| match fault {
            // What a sentinel says to a name that it does not know.
            RedisFault::Refused { code, .. } if code == "ERR" => ConnectFault::UnknownService,
            fault => ConnectFault::Redis(fault),
        })?;
        let address = match address {
            Reply::Null => return Err(ConnectFault::UnknownService),
            address => address.list(questions[1].name),
        };
        let address = address.map_err(ConnectFault::Redis)?;
        let [host, port] = address.as_slice() else {
            return Err(unexpected(questions[1].name));
        };
        let host = host.as_text().ok_or(unexpected(questions[1].name))?;
        let port = port.as_number().and_then(|port| u16::try_from(port).ok());
        let value = |name: &str| {
            let mut pairs = about.chunks_exact(2);
            let [_, value] = pairs.find(|pair| pair[0].as_text() == Some(name))? else {
                return None;
            };
            Some(value)
        };
        let epoch = value("config-epoch").and_then(Reply::as_number);
        let state = value("failover-state").and_then(Reply::as_text);
        Ok(Self {
            primary: Address::new(host, port.ok_or(unexpected(questions[1].name))?),
            epoch: epoch
                .and_then(|epoch| u64::try_from(epoch).ok())
                .unwrap_or(0),
            is_failing_over: state.is_some_and(|state| DECIDING.contains(&state)),
            seen: Instant::now(),
        })
    }
}

fn unexpected(command: &'static str) -> ConnectFault {
    ConnectFault::Redis(RedisFault::Unexpected { command })
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
