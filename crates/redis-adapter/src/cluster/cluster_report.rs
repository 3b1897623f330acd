//! Cluster reports: the topology of a cluster as one server reports it, and the choice between the
//! reports of several servers.

use super::topology::Topology;
use crate::{
    RedisFault,
    connection::{Command, Reply},
};

/// The topology of a cluster as one server reports it, with a rank for the comparison with the
/// reports of other servers.
#[derive(Debug, Clone)]
pub(crate) struct ClusterReport {
    topology: Topology,
    rank: Rank,
}

/// Rank of a cluster report. If servers report different topologies, the report with the greatest
/// rank is used. A report of an available cluster has a greater rank than a report of an
/// unavailable cluster. Among reports with the same availability, a later epoch has a greater rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// `true` if the server reports the cluster as available (`cluster_state:ok`). A server that is
    /// cut off from most primaries reports the cluster as unavailable, but still names itself as a
    /// primary.
    serves: bool,
    /// Current epoch of the cluster, according to the server. The epoch grows with each failover
    /// and each moved hash slot.
    epoch: u64,
}

impl ClusterReport {
    /// Commands that read the topology and the state of a cluster from one server.
    pub(super) const COMMANDS: [Command<'static>; 2] = [
        Command::new("CLUSTER SLOTS", &[]),
        Command::new("CLUSTER INFO", &[]),
    ];

    /// Parses the replies to [`Self::COMMANDS`]. Returns `None` if the list of hash slots is
    /// invalid or empty. The list is empty if the server belongs to no cluster.
    ///
    /// `contacted_host` is the host name under which the server was contacted. If the server does
    /// not know its own host name, the parsed addresses contain `contacted_host` instead.
    pub(super) fn of(
        [slots, info]: [Reply; 2],
        contacted_host: &str,
    ) -> Result<Option<Self>, RedisFault> {
        let [slots_name, info_name] = Self::COMMANDS.map(|command| command.name);
        let slots = slots.any(slots_name)?;
        let rank = Rank::parse(&info.text(info_name).unwrap_or_default());
        Ok(Topology::parse(slots, contacted_host).map(|topology| Self { topology, rank }))
    }

    /// Returns `true` if the server reports the cluster as available.
    pub(crate) fn serves(&self) -> bool {
        self.rank.serves
    }
}

impl Rank {
    /// Parses the availability and the epoch of a cluster from the reply to `CLUSTER INFO`. If the
    /// Redis user lacks the permission for `CLUSTER INFO`, `info` is empty. The result is then an
    /// available cluster with epoch 0.
    fn parse(info: &str) -> Self {
        let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
        Self {
            serves: value("cluster_state:").is_none_or(|state| state == "ok"),
            epoch: value("cluster_current_epoch:")
                .and_then(|epoch| epoch.parse().ok())
                .unwrap_or(0),
        }
    }
}

/// Returns the topology in the best of the `reports`, or `None` if there are no reports. A report
/// of an available cluster is better than a report of an unavailable cluster. If the availability
/// is the same, a later epoch is better. Of equally good reports, the topology that most of these
/// reports contain is returned.
pub(crate) fn best_topology(reports: &[ClusterReport]) -> Option<Topology> {
    let votes = |report: &ClusterReport| {
        let same = |other: &&ClusterReport| other.topology == report.topology;
        reports.iter().filter(same).count()
    };
    let best = reports
        .iter()
        .max_by_key(|report| (report.rank, votes(report)));
    best.map(|report| report.topology.clone())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{address::Address, cluster::topology::SlotRange};

    fn report(port: u16, serves: bool, epoch: u64) -> ClusterReport {
        let primary = Address::new("redis", port);
        let range = SlotRange {
            first: 0,
            last: 16_383,
            primary,
        };
        ClusterReport {
            topology: Topology {
                ranges: vec![range],
                replicas: Vec::new(),
            },
            rank: Rank { serves, epoch },
        }
    }

    #[rstest]
    #[case::no_reports(vec![], None)]
    #[case::one_report(vec![report(1, true, 3)], Some(1))]
    #[case::later_epoch(vec![report(1, true, 3), report(2, true, 4), report(1, true, 3)], Some(2))]
    #[case::majority(vec![report(2, true, 3), report(1, true, 3), report(1, true, 3)], Some(1))]
    #[case::isolated_server_is_ignored(vec![report(2, false, 9), report(1, true, 3)], Some(1))]
    #[case::only_an_isolated_server(vec![report(2, false, 9)], Some(2))]
    fn cluster_topology_is_taken_from_the_available_server_with_the_latest_epoch(
        #[case] reports: Vec<ClusterReport>,
        #[case] expected: Option<u16>,
    ) {
        let port = |topology: Topology| topology.ranges[0].primary.port;
        assert_eq!(best_topology(&reports).map(port), expected);
    }

    #[rstest]
    #[case::state_ok("cluster_state:ok\r\ncluster_current_epoch:6\r\n", true, 6)]
    #[case::state_fail("cluster_state:fail\r\ncluster_current_epoch:7\r\n", false, 7)]
    #[case::no_info("", true, 0)]
    fn cluster_state_and_epoch_are_parsed_from_cluster_info(
        #[case] info: &str,
        #[case] serves: bool,
        #[case] epoch: u64,
    ) {
        assert_eq!(Rank::parse(info), Rank { serves, epoch });
    }
}
