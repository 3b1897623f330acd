//! Reports of single sentinels, and the consensus that follows from the reports of all sentinels.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    RedisFault,
    address::Address,
    connection::{Call, Command, ConnectFault, Reply},
};

/// Maximum age of the report of a sentinel. Older reports are ignored.
const MAX_REPORT_AGE: Duration = Duration::from_secs(1);

/// States of a failover (`failover-state` of a sentinel) in which a replica is being promoted to
/// primary. During these states, writes to the old primary may be lost. In an earlier state, the
/// failover has changed nothing. In a later state, the sentinels already name the new primary.
const PROMOTION_STATES: [&str; 3] = ["select_slave", "send_slaveof_noone", "wait_promotion"];

/// Report of one sentinel about the primary.
#[derive(Debug, Clone)]
pub(super) struct SentinelReport {
    primary: Address,
    /// Configuration epoch of the sentinel, which grows with each failover. A report with a higher
    /// epoch reflects a later failover.
    epoch: u64,
    is_failing_over: bool,
    received_at: Instant,
}

/// Result of combining the reports of all sentinels. The function [`consensus`] has the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Consensus {
    /// The server at this address is the primary.
    Primary(Address),
    /// A failover is in progress: at least one sentinel is promoting a replica to primary.
    FailingOver,
    /// No sentinel has sent a report within the last [`MAX_REPORT_AGE`].
    Unknown,
}

impl SentinelReport {
    pub(super) fn primary(&self) -> &Address {
        &self.primary
    }

    pub(super) async fn request(call: &Call, service: &str) -> Result<Self, ConnectFault> {
        let service = [service.as_bytes()];
        // Two commands are needed. During a failover, `SENTINEL MASTER` reports the failover state,
        // but still the address of the old primary. The other command reports the address of the
        // current primary.
        let commands = [
            Command::new("SENTINEL MASTER", &service),
            Command::new("SENTINEL GET-MASTER-ADDR-BY-NAME", &service),
        ];
        let replies = call.send(commands).await;
        let [details, address] = replies.map_err(ConnectFault::Redis)?;
        let details = details
            .list(commands[0].name)
            .map_err(|fault| match fault {
                // A sentinel replies with `ERR` if it monitors no primary with the name `service`.
                RedisFault::Refused { code, .. } if code == "ERR" => ConnectFault::UnknownService,
                fault => ConnectFault::Redis(fault),
            })?;
        let address = match address {
            Reply::Null => return Err(ConnectFault::UnknownService),
            address => address.list(commands[1].name),
        };
        let address = address.map_err(ConnectFault::Redis)?;
        let [host, port] = address.as_slice() else {
            return Err(unexpected(commands[1].name));
        };
        let host = host.as_text().ok_or(unexpected(commands[1].name))?;
        let port = port.as_number().and_then(|port| u16::try_from(port).ok());
        let value = |name: &str| {
            let mut pairs = details.chunks_exact(2);
            let [_, value] = pairs.find(|pair| pair[0].as_text() == Some(name))? else {
                return None;
            };
            Some(value)
        };
        let epoch = value("config-epoch").and_then(Reply::as_number);
        let state = value("failover-state").and_then(Reply::as_text);
        Ok(Self {
            primary: Address::new(host, port.ok_or(unexpected(commands[1].name))?),
            epoch: epoch
                .and_then(|epoch| u64::try_from(epoch).ok())
                .unwrap_or(0),
            is_failing_over: state.is_some_and(|state| PROMOTION_STATES.contains(&state)),
            received_at: Instant::now(),
        })
    }
}

fn unexpected(command: &'static str) -> ConnectFault {
    ConnectFault::Redis(RedisFault::Unexpected { command })
}

/// Returns the consensus of all reports that are younger than [`MAX_REPORT_AGE`].
///
/// - If one of the reports shows a failover, the consensus is [`Consensus::FailingOver`].
/// - Otherwise the consensus is the primary in the report with the highest epoch. The sentinels
///   follow the same rule.
/// - If several reports have the highest epoch, the consensus is the primary that most of these
///   reports name.
/// - If there is no report, the consensus is [`Consensus::Unknown`].
pub(super) fn consensus(reports: &[Option<SentinelReport>], now: Instant) -> Consensus {
    let is_fresh = |report: &&SentinelReport| {
        now.saturating_duration_since(report.received_at) < MAX_REPORT_AGE
    };
    let fresh: Vec<_> = reports.iter().flatten().filter(is_fresh).collect();
    if fresh.iter().any(|report| report.is_failing_over) {
        return Consensus::FailingOver;
    }
    let votes = |report: &SentinelReport| {
        let same = |other: &&&SentinelReport| {
            other.primary == report.primary && other.epoch == report.epoch
        };
        fresh.iter().filter(same).count()
    };
    // If two primaries are named by the same number of reports, the sentinel that comes first in
    // the Redis URL is decisive. The choice is then always the same.
    let best = fresh
        .iter()
        .rev()
        .max_by_key(|report| (report.epoch, votes(report)));
    best.map_or(Consensus::Unknown, |report| {
        Consensus::Primary(report.primary.clone())
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn report_of(port: u16, epoch: u64) -> Option<SentinelReport> {
        Some(SentinelReport {
            primary: Address::new("redis", port),
            epoch,
            is_failing_over: false,
            received_at: Instant::now(),
        })
    }

    fn report_of_failover(port: u16) -> Option<SentinelReport> {
        report_of(port, 0).map(|report| SentinelReport {
            is_failing_over: true,
            ..report
        })
    }

    fn stale_report_of(port: u16, epoch: u64) -> Option<SentinelReport> {
        report_of(port, epoch).map(|report| SentinelReport {
            received_at: Instant::now() - 2 * MAX_REPORT_AGE,
            ..report
        })
    }

    fn primary_at(port: u16) -> Consensus {
        Consensus::Primary(Address::new("redis", port))
    }

    #[rstest]
    #[case::no_reports_means_unknown(&[None, None], Consensus::Unknown)]
    #[case::one_report_of_three_sentinels_is_enough(&[None, report_of(1, 0), None], primary_at(1))]
    #[case::majority_decides_within_one_epoch(
        &[report_of(2, 0), report_of(1, 0), report_of(1, 0)],
        primary_at(1)
    )]
    #[case::highest_epoch_beats_majority(
        &[report_of(1, 3), report_of(2, 4), report_of(1, 3)],
        primary_at(2)
    )]
    #[case::first_sentinel_decides_a_tie(&[report_of(2, 1), report_of(1, 1)], primary_at(2))]
    #[case::one_sentinel_in_failover_means_failing_over(
        &[report_of(1, 0), report_of(1, 0), report_of_failover(1)],
        Consensus::FailingOver
    )]
    #[case::stale_report_is_ignored(&[stale_report_of(2, 9), report_of(1, 0)], primary_at(1))]
    #[case::only_stale_reports_means_unknown(&[stale_report_of(1, 0)], Consensus::Unknown)]
    fn consensus_prefers_a_failover_then_the_highest_epoch_then_the_most_frequent_primary(
        #[case] reports: &[Option<SentinelReport>],
        #[case] expected: Consensus,
    ) {
        assert_eq!(consensus(reports, Instant::now()), expected);
    }
}
