//! The topology of a cluster: which primary owns which hash slots.

use crc::{CRC_16_XMODEM, Crc};

use crate::{
    address::Address,
    connection::{PROBE_NAME, Reply},
    record::Key,
};

/// Number of hash slots in every cluster.
pub(crate) const HASH_SLOTS: u16 = 16_384;

/// Returns the hash slot of a Redis key.
pub(super) fn hash_slot(key: &Key) -> u16 {
    const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
    CRC.checksum(hashed_part(key.as_bytes())) % HASH_SLOTS
}

/// Returns the part of a Redis key from which the hash slot is computed: the hash tag, or the whole
/// key if it has no hash tag. The hash tag is the text between the first `{` and the next `}`, if
/// that text is not empty.
fn hashed_part(key: &[u8]) -> &[u8] {
    let tag = memchr::memchr(b'{', key).map(|open| &key[open + 1..]);
    let tag = tag.and_then(|rest| Some(&rest[..memchr::memchr(b'}', rest)?]));
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// Returns a Redis key for health probes. The key belongs to a hash slot for which `owns` returns
/// `true`. No session is stored under the key.
pub(crate) fn probe_key(owns: impl Fn(u16) -> bool) -> Key {
    let mut keys = (0_u32..).map(|n| Key::named(format_args!("{PROBE_NAME}{n}")));
    keys.find(|key| owns(hash_slot(key)))
        .unwrap_or_else(|| Key::named(PROBE_NAME))
}

/// A range of hash slots that one primary owns, including the slots `first` and `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) primary: Address,
}

/// The primaries of a cluster with their hash slots, and the replicas.
///
/// Two topologies are equal if their slot ranges are equal. Replicas are not compared, because they
/// only serve as further addresses from which the topology can be requested.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topology {
    /// Slot ranges of all primaries, in ascending order and without overlaps.
    pub(crate) ranges: Vec<SlotRange>,
    pub(super) replicas: Vec<Address>,
}

impl PartialEq for Topology {
    fn eq(&self, other: &Self) -> bool {
        self.ranges == other.ranges
    }
}

impl Topology {
    /// Parses the reply to `CLUSTER SLOTS`, which lists slot ranges. Each range contains its
    /// primary and its replicas. If the reply contains no host name for a server, the address of
    /// that server contains `contacted_host`, the host name under which the replying server was
    /// contacted.
    ///
    /// Returns `None` if the reply has another form, if slot ranges overlap, or if there are no
    /// slot ranges. A server that belongs to no cluster reports no slot ranges.
    pub(super) fn parse(reply: Reply, contacted_host: &str) -> Option<Self> {
        let mut topology = Self::default();
        for range in list(reply)? {
            let mut parts = list(range)?.into_iter();
            let (first, last) = (slot(&parts.next()?)?, slot(&parts.next()?)?);
            let primary = address(parts.next()?, contacted_host)?;
            topology.ranges.push(SlotRange {
                first,
                last,
                primary,
            });
            let replicas = parts.filter_map(|replica| address(replica, contacted_host));
            topology.replicas.extend(replicas);
        }
        topology.ranges.sort_by_key(|range| range.first);
        // Each server lists the replicas in a different order, and repeats a replica for each of
        // its ranges.
        topology.replicas.sort_unstable();
        topology.replicas.dedup();
        let in_order = topology
            .ranges
            .iter()
            .all(|range| range.first <= range.last)
            && topology
                .ranges
                .windows(2)
                .all(|pair| pair[0].last < pair[1].first);
        (in_order && !topology.ranges.is_empty()).then_some(topology)
    }

    /// Returns the addresses of all primaries as one text for log messages.
    pub(super) fn primaries(&self) -> String {
        let mut names: Vec<_> = self
            .ranges
            .iter()
            .map(|range| range.primary.to_string())
            .collect();
        names.sort_unstable();
        names.dedup();
        names.join(" ")
    }
}

fn list(reply: Reply) -> Option<Vec<Reply>> {
    match reply {
        Reply::List(list) => Some(list),
        _ => None,
    }
}

fn slot(reply: &Reply) -> Option<u16> {
    let slot = u16::try_from(reply.as_number()?).ok()?;
    (slot < HASH_SLOTS).then_some(slot)
}

/// Parses the address of a server from the list `[host, port, ...]`. If the list contains no host
/// name, the address contains `contacted_host`, the host name under which the replying server was
/// contacted. Returns `None` if the reply has another form.
fn address(reply: Reply, contacted_host: &str) -> Option<Address> {
    let parts = list(reply)?;
    let host = match parts.first()? {
        Reply::Null => "",
        host => host.as_text()?,
    };
    let port = u16::try_from(parts.get(1)?.as_number()?).ok()?;
    // Redis replies with `?` if it is configured to announce host names but no host name is
    // configured for this server.
    let is_unknown = host.is_empty() || host == "?";
    let host = if is_unknown { contacted_host } else { host };
    Some(Address::new(host, port))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::record::IndexKeys;

    fn text(text: &str) -> Reply {
        Reply::Bulk(text.to_owned().into())
    }

    fn list(items: Vec<Reply>) -> Reply {
        Reply::List(items)
    }

    fn server(host: Reply, port: i64) -> Reply {
        list(vec![host, Reply::Integer(port), text("id"), list(vec![])])
    }

    fn range(first: i64, last: i64, servers: Vec<Reply>) -> Reply {
        let ends = vec![Reply::Integer(first), Reply::Integer(last)];
        list([ends, servers].concat())
    }

    fn at(host: &str, port: u16) -> Address {
        Address::new(host, port)
    }

    /// A hash slot is computed from a CRC-16 checksum. The expected checksum is the test vector of
    /// the Redis Cluster specification. The expected hash slots are replies of Redis to
    /// `CLUSTER KEYSLOT`.
    #[test]
    fn computed_hash_slots_equal_the_hash_slots_of_redis() {
        const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
        assert_eq!(CRC.checksum(b"123456789"), 0x31c3);
        let key = Key::named("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
        assert_eq!(hash_slot(&key), 1_575);
        let keys = IndexKeys::of(&"member-4711".parse().unwrap());
        for key in [keys.order, keys.ends, keys.details] {
            assert_eq!(hash_slot(&key), 739);
        }
    }

    /// The cases are the examples of hash tags in the Redis Cluster specification.
    #[rstest]
    #[case::hash_tag("{user1000}.following", "user1000")]
    #[case::empty_tag("foo{}{bar}", "foo{}{bar}")]
    #[case::unclosed_brace("foo{bar", "foo{bar")]
    #[case::closing_brace_first("foo}{bar", "foo}{bar")]
    #[case::tag_with_a_brace("foo{{bar}}zap", "{bar")]
    #[case::first_of_two_tags("foo{bar}{zap}", "bar")]
    fn hash_slot_is_computed_from_the_hash_tag_or_else_the_whole_key(
        #[case] key: &str,
        #[case] part: &str,
    ) {
        assert_eq!(hashed_part(key.as_bytes()), part.as_bytes());
    }

    #[test]
    fn cluster_slots_reply_is_parsed_into_sorted_ranges_and_replicas() {
        let reply = list(vec![
            range(8_192, 16_383, vec![server(text("b"), 2)]),
            range(0, 8_191, vec![server(text("a"), 1), server(text("c"), 3)]),
        ]);
        let topology = Topology::parse(reply, "reached").unwrap();
        let primaries: Vec<_> = topology.ranges.iter().map(|r| &r.primary).collect();
        assert_eq!(primaries, [&at("a", 1), &at("b", 2)]);
        assert_eq!(topology.replicas, [at("c", 3)]);
    }

    #[rstest]
    #[case::null(Reply::Null)]
    #[case::empty_text(text(""))]
    #[case::question_mark(text("?"))]
    fn unknown_host_in_cluster_slots_is_replaced_by_the_contacted_host(#[case] host: Reply) {
        let reply = list(vec![range(0, 1, vec![server(host, 7)])]);
        let topology = Topology::parse(reply, "reached").unwrap();
        assert_eq!(topology.ranges[0].primary, at("reached", 7));
    }

    #[rstest]
    #[case::not_a_list(text("OK"))]
    #[case::no_ranges(list(vec![Reply::Integer(1)]))]
    #[case::no_slots(list(vec![]))]
    #[case::range_without_server(list(vec![range(0, 1, vec![])]))]
    #[case::slot_too_high(list(vec![range(0, 16_384, vec![server(text("a"), 1)])]))]
    #[case::negative_slot(list(vec![range(-1, 5, vec![server(text("a"), 1)])]))]
    #[case::reversed_range(list(vec![range(5, 1, vec![server(text("a"), 1)])]))]
    #[case::overlapping_ranges(list(vec![
        range(0, 5, vec![server(text("a"), 1)]),
        range(5, 9, vec![server(text("b"), 2)]),
    ]))]
    #[case::invalid_port(list(vec![range(0, 5, vec![server(text("a"), 70_000)])]))]
    fn invalid_cluster_slots_reply_is_rejected(#[case] reply: Reply) {
        assert_eq!(Topology::parse(reply, "reached"), None);
    }
}
