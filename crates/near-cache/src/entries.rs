//! Table of cached sessions with a maximum number of entries and a maximum size in bytes.

use std::hash::BuildHasherDefault;

use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use tee_session_domain::{BaseUrl, Cookies, Session, SessionId, StoreInstance, TokenHash};

use crate::{
    NearCacheSettings, change_counters::ChangeSnapshot, invalidation_channel::Moment,
    token_hasher::TokenHasher,
};

/// Memory overhead of a cached copy in bytes: the table entry, its share of the hash tables, and
/// the overhead of the memory allocator. The lengths of the cookies, the base URL and the
/// attributes are not included.
const ENTRY_BYTES: usize = 448;

/// Maximum number of shards of the table. Each shard has its own lock.
///
/// With 64 shards, threads rarely wait for the same lock, and a sweep holds each lock only briefly.
const MAX_SHARDS: usize = 64;

/// A cached copy of a session, with the conditions under which the copy is valid.
///
/// The table stores its entries inline, not behind a pointer. A look-up therefore needs one memory
/// access less.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) session: Session,
    pub(crate) id: SessionId,
    /// Store server from which the session was read. The cached copy is valid only for requests
    /// that would go to the same server.
    pub(crate) instance: StoreInstance,
    /// Number of the epoch in which the session was read. A new epoch begins when the invalidation
    /// feed is lost or moves to another store server. The cached copy is valid only in its epoch.
    pub(crate) epoch: u64,
    /// Snapshot of the change counters before the session was read. The cached copy is valid only
    /// while the counters are unchanged.
    pub(crate) snapshot: ChangeSnapshot,
    /// End of the session. The cached copy expires at this time without an invalidation, because
    /// the store may report the expiry late.
    pub(crate) expires_at: Moment,
}

type Table = Cache<TokenHash, Entry, Weigher, BuildHasherDefault<TokenHasher>>;

/// Table of cached copies with a maximum number of entries and a maximum size in bytes. If a
/// maximum is reached, the least used copies are evicted.
pub(crate) struct Entries {
    table: Table,
}

impl Entries {
    #[expect(clippy::expect_used, reason = "the options are fixed")]
    pub(crate) fn new(settings: &NearCacheSettings) -> Self {
        let max_entries = settings.max_entries.max(1);
        let weigher = Weigher {
            min_weight: settings.max_bytes.div_ceil(max_entries) as u64,
        };
        let options = OptionsBuilder::new()
            .estimated_items_capacity(max_entries)
            .weight_capacity(settings.max_bytes as u64)
            .shards(shards(settings.max_bytes))
            // The hashes of evicted entries are not remembered, so that the table stays small.
            .ghost_allocation(0.0)
            .build()
            .expect("every option that is required is set");
        let table = Cache::with_options(
            options,
            weigher,
            BuildHasherDefault::default(),
            DefaultLifecycle::default(),
        );
        Self { table }
    }

    pub(crate) fn get(&self, hash: TokenHash) -> Option<Entry> {
        self.table.get(&hash)
    }

    pub(crate) fn insert(&self, hash: TokenHash, entry: Entry) {
        self.table.insert(hash, entry);
    }

    pub(crate) fn remove(&self, hash: TokenHash) {
        self.table.remove(&hash);
    }

    /// Removes all cached copies for which `is_valid` returns `false`. Dropping a copy wipes its
    /// memory.
    pub(crate) fn retain(&self, is_valid: impl Fn(&Entry) -> bool) {
        self.table.retain(|_, entry| is_valid(entry));
    }

    pub(crate) fn clear(&self) {
        self.table.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

/// Returns the number of shards for a table of `max_bytes`. All shards have the same size, and a
/// shard must have room for several sessions of the maximum size.
fn shards(max_bytes: usize) -> usize {
    const COOKIES: usize = Cookies::MAX_TOTAL_LEN + Cookies::MAX_ATTRIBUTES_LEN;
    const LARGEST: usize = ENTRY_BYTES + COOKIES + BaseUrl::MAX_LEN;
    (max_bytes / (8 * LARGEST)).clamp(1, MAX_SHARDS)
}

/// Computes the weight of a table entry in bytes.
///
/// An entry weighs at least `max_bytes / max_entries`. With this minimum, the maximum size of the
/// table also enforces the maximum number of entries.
#[derive(Clone)]
struct Weigher {
    min_weight: u64,
}

impl Weighter<TokenHash, Entry> for Weigher {
    fn weight(&self, _: &TokenHash, entry: &Entry) -> u64 {
        let Session {
            cookies,
            base_url,
            attributes,
            ..
        } = &entry.session;
        let texts = cookies.memory_len() + base_url.as_str().len() + attributes.text_len();
        let bytes = ENTRY_BYTES + texts;
        (bytes as u64).max(self.min_weight)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;
    use tee_session_domain::{Login, SessionAttributes, SessionToken, StoreClock, StoreKey};

    use super::*;
    use crate::{change_counters::ChangeCounters, invalidation_channel::InvalidationChannel};

    fn entry(attributes: SessionAttributes) -> (TokenHash, Entry) {
        let cookies = [("name", "value"), ("a", "")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let login = Login {
            attributes,
            ..Login::new(
                Cookies::new(cookies).unwrap(),
                BaseUrl::new("https://golf.example").unwrap(),
            )
        };
        let token = SessionToken::generate();
        let snapshot = ChangeCounters::for_entries(1).snapshot(&[StoreKey::new(b"key")]);
        let entry = Entry {
            session: Session::new(login, StoreClock::from_system().now(), None),
            id: SessionId::of(&token),
            instance: StoreInstance(1),
            epoch: 0,
            snapshot: snapshot.unwrap(),
            expires_at: InvalidationChannel::new(Duration::ZERO).now(),
        };
        (TokenHash::of(&token), entry)
    }

    #[test]
    fn weight_of_an_entry_is_the_length_of_its_texts_and_a_fixed_overhead() {
        // Each cookie is stored with two separators.
        let cookies = "name".len() + "value".len() + 2 + "a".len() + 2;
        let texts = cookies + "https://golf.example".len();
        let weigher = Weigher { min_weight: 0 };
        let (hash, plain) = entry(SessionAttributes::default());
        assert_eq!(weigher.weight(&hash, &plain), (ENTRY_BYTES + texts) as u64);
        let of_alice = SessionAttributes::of_subject("alice".parse().unwrap());
        let (hash, named) = entry(of_alice);
        let texts = texts + "alice".len();
        assert_eq!(weigher.weight(&hash, &named), (ENTRY_BYTES + texts) as u64);
        let weigher = Weigher { min_weight: 10_000 };
        assert_eq!(weigher.weight(&hash, &named), 10_000);
    }

    #[rstest]
    #[case::too_small_for_two_shards(2 * 8 * 51_648 - 1, 1)]
    #[case::two_shards(2 * 8 * 51_648, 2)]
    #[case::no_memory(0, 1)]
    #[case::most(1 << 40, 64)]
    fn each_shard_has_room_for_eight_sessions_of_the_maximum_size(
        #[case] max_bytes: usize,
        #[case] expected: usize,
    ) {
        assert_eq!(shards(max_bytes), expected);
    }
}
