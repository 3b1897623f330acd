//! Which server of a cluster keeps which hash slots.

use crc::{CRC_16_XMODEM, Crc};

use crate::{
    address::Address,
    connection::{PROBE_NAME, Reply},
    record::Key,
};

/// There are so many hash slots.
pub(crate) const HASH_SLOTS: u16 = 16_384;

/// The slot of a key.
pub(super) fn hash_slot(key: &Key) -> u16 {
    const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
    CRC.checksum(hashed_part(key.as_bytes())) % HASH_SLOTS
}

/// What is between the first brace and the next that closes, if there is anything: the hash tag. Else
/// all of it.
fn hashed_part(key: &[u8]) -> &[u8] {
    let tag = memchr::memchr(b'{', key).map(|open| &key[open + 1..]);
    let tag = tag.and_then(|rest| Some(&rest[..memchr::memchr(b'}', rest)?]));
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// A key, of no session, in a slot that `owns` says yes to.
pub(crate) fn probe_key(owns: impl Fn(u16) -> bool) -> Key {
    let mut keys = (0_u32..).map(|n| Key::named(format_args!("{PROBE_NAME}{n}")));
    keys.find(|key| owns(hash_slot(key)))
        .unwrap_or_else(|| Key::named(PROBE_NAME))
}

/// A primary's part of the hash slots, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) primary: Address,
}

/// Who has which slots, and who would take over. Which replicas are there counts for little: two
/// topologies are equal when their ranges are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Topology {
    /// In the order of their slots, without overlaps.
    pub(crate) ranges: Vec<SlotRange>,
    pub(super) replicas: Vec<Address>,
}

impl PartialEq for Topology {
    fn eq(&self, other: &Self) -> bool {
        self.ranges == other.ranges
    }
}

impl Topology {
    /// Reads the answer to CLUSTER SLOTS: ranges, each with its primary and then its replicas.
    /// `None` for anything else, and for no slots at all: a server that belongs to no cluster yet, or
    /// no more, says so.
    pub(super) fn parse(answer: Reply, asked: &str) -> Option<Self> {
        let mut topology = Self::default();
        for range in list(answer)? {
            let mut parts = list(range)?.into_iter();
            let (first, last) = (slot(&parts.next()?)?, slot(&parts.next()?)?);
            let primary = address(parts.next()?, asked)?;
            topology.ranges.push(SlotRange {
                first,
                last,
                primary,
            });
            let replicas = parts.filter_map(|replica| address(replica, asked));
            topology.replicas.extend(replicas);
        }
        topology.ranges.sort_by_key(|range| range.first);
        // Servers name them in an order of their own, once for each range.
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

    /// For the log.
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

/// `[host, port, ...]`; a server that does not know its own name says null or nothing.
fn address(reply: Reply, asked: &str) -> Option<Address> {
    let parts = list(reply)?;
    let host = match parts.first()? {
        Reply::Null => "",
        host => host.as_text()?,
    };
    let port = u16::try_from(parts.get(1)?.as_number()?).ok()?;
    // What Redis says for a server whose name it is set to tell and was not told.
    let is_unknown = host.is_empty() || host == "?";
    Some(Address::new(if is_unknown { asked } else { host }, port))
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

    /// Of the Redis Cluster specification, and as `CLUSTER KEYSLOT` says.
    #[test]
    fn slots_are_those_of_redis() {
        const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
        assert_eq!(CRC.checksum(b"123456789"), 0x31c3);
        let key = Key::named("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed");
        assert_eq!(hash_slot(&key), 1_575);
        let keys = IndexKeys::of(&"member-4711".parse().unwrap());
        for key in [keys.order, keys.ends, keys.details] {
            assert_eq!(hash_slot(&key), 739);
        }
    }

    /// As the specification has it.
    #[rstest]
    #[case::a_tag("{user1000}.following", "user1000")]
    #[case::none("foo{}{bar}", "foo{}{bar}")]
    #[case::not_closed("foo{bar", "foo{bar")]
    #[case::closed_before("foo}{bar", "foo}{bar")]
    #[case::with_a_brace("foo{{bar}}zap", "{bar")]
    #[case::the_first_counts("foo{bar}{zap}", "bar")]
    fn of_a_key_with_a_hash_tag_only_that_counts(#[case] key: &str, #[case] part: &str) {
        assert_eq!(hashed_part(key.as_bytes()), part.as_bytes());
    }

    #[test]
    fn ranges_are_read_in_the_order_of_their_slots_with_primaries_and_replicas() {
        let answer = list(vec![
            range(8_192, 16_383, vec![server(text("b"), 2)]),
            range(0, 8_191, vec![server(text("a"), 1), server(text("c"), 3)]),
        ]);
        let topology = Topology::parse(answer, "asked").unwrap();
        let primaries: Vec<_> = topology.ranges.iter().map(|r| &r.primary).collect();
        assert_eq!(primaries, [&at("a", 1), &at("b", 2)]);
        assert_eq!(topology.replicas, [at("c", 3)]);
    }

    #[rstest]
    #[case::null(Reply::Null)]
    #[case::empty(text(""))]
    #[case::not_told(text("?"))]
    fn a_server_that_does_not_know_its_name_is_where_it_was_asked(#[case] host: Reply) {
        let answer = list(vec![range(0, 1, vec![server(host, 7)])]);
        let topology = Topology::parse(answer, "asked").unwrap();
        assert_eq!(topology.ranges[0].primary, at("asked", 7));
    }

    #[rstest]
    #[case::no_list(text("OK"))]
    #[case::no_ranges(list(vec![Reply::Integer(1)]))]
    #[case::no_slots(list(vec![]))]
    #[case::no_server(list(vec![range(0, 1, vec![])]))]
    #[case::too_high(list(vec![range(0, 16_384, vec![server(text("a"), 1)])]))]
    #[case::negative(list(vec![range(-1, 5, vec![server(text("a"), 1)])]))]
    #[case::backwards(list(vec![range(5, 1, vec![server(text("a"), 1)])]))]
    #[case::overlapping(list(vec![
        range(0, 5, vec![server(text("a"), 1)]),
        range(5, 9, vec![server(text("b"), 2)]),
    ]))]
    #[case::no_port(list(vec![range(0, 5, vec![server(text("a"), 70_000)])]))]
    fn what_is_no_topology_is_refused(#[case] answer: Reply) {
        assert_eq!(Topology::parse(answer, "asked"), None);
    }
}
