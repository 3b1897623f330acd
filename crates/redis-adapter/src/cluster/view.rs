//! What one server says of the cluster, and what follows from what several say.

use super::topology::Topology;
use crate::{
    RedisFault,
    connection::{Command, Reply},
};

/// The cluster as one server sees it.
#[derive(Debug, Clone)]
pub(crate) struct View {
    topology: Topology,
    standing: Standing,
}

/// How much a view counts; the greater counts more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    /// It sees most primaries. One that is cut off from them goes on naming itself.
    serves: bool,
    /// It grows with each failover and each slot that moved.
    epoch: u64,
}

impl View {
    /// What is asked for it.
    pub(super) const QUESTIONS: [Command<'static>; 2] = [
        Command::new("CLUSTER SLOTS", &[]),
        Command::new("CLUSTER INFO", &[]),
    ];

    /// What a server says to that, which was `asked` at this host. `None`: it belongs to no cluster,
    /// not yet or no more.
    pub(super) fn of([slots, info]: [Reply; 2], asked: &str) -> Result<Option<Self>, RedisFault> {
        let [slots_name, info_name] = Self::QUESTIONS.map(|question| question.name);
        let slots = slots.any(slots_name)?;
        let standing = Standing::parse(&info.text(info_name).unwrap_or_default());
        Ok(Topology::parse(slots, asked).map(|topology| Self { topology, standing }))
    }
}

impl View {
    /// Whether its server sees most primaries.
    pub(crate) fn serves(&self) -> bool {
        self.standing.serves
    }
}

impl Standing {
    /// Reads the answer to CLUSTER INFO. Who may not ask for that takes every view for as good.
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

/// Of those that count most, the one that most share.
pub(crate) fn best(views: &[View]) -> Option<Topology> {
    let votes = |view: &View| {
        let same = |other: &&View| other.topology == view.topology;
        views.iter().filter(same).count()
    };
    let best = views.iter().max_by_key(|view| (view.standing, votes(view)));
    best.map(|view| view.topology.clone())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{address::Address, cluster::topology::SlotRange};

    fn view(port: u16, serves: bool, epoch: u64) -> View {
        let primary = Address::new("redis", port);
        let range = SlotRange {
            first: 0,
            last: 16_383,
            primary,
        };
        View {
            topology: Topology {
                ranges: vec![range],
                replicas: Vec::new(),
            },
            standing: Standing { serves, epoch },
        }
    }

    #[rstest]
    #[case::nobody(vec![], None)]
    #[case::one(vec![view(1, true, 3)], Some(1))]
    #[case::the_later(vec![view(1, true, 3), view(2, true, 4), view(1, true, 3)], Some(2))]
    #[case::most(vec![view(2, true, 3), view(1, true, 3), view(1, true, 3)], Some(1))]
    #[case::one_that_is_cut_off(vec![view(2, false, 9), view(1, true, 3)], Some(1))]
    #[case::only_one_that_is_cut_off(vec![view(2, false, 9)], Some(2))]
    fn what_follows(#[case] views: Vec<View>, #[case] expected: Option<u16>) {
        let port = |topology: Topology| topology.ranges[0].primary.port;
        assert_eq!(best(&views).map(port), expected);
    }

    #[rstest]
    #[case::serves("cluster_state:ok\r\ncluster_current_epoch:6\r\n", true, 6)]
    #[case::is_down("cluster_state:fail\r\ncluster_current_epoch:7\r\n", false, 7)]
    #[case::not_told("", true, 0)]
    fn standing(#[case] info: &str, #[case] serves: bool, #[case] epoch: u64) {
        assert_eq!(Standing::parse(info), Standing { serves, epoch });
    }
}
