//! The copies, within their bounds.

use std::hash::BuildHasherDefault;

use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use tee_session_domain::{BaseUrl, Cookies, Session, SessionId, StoreInstance, TokenHash};

use crate::{NearCacheSettings, channel::Moment, token_hasher::TokenHasher, versions::Seen};

/// What a copy takes beside its text: the entry, its places in tables, and what the allocator adds.
const ENTRY_BYTES: usize = 448;

/// So many threads seldom wait for each other, and none for long while a shard is swept.
const MAX_SHARDS: usize = 64;

/// A copy of a session, and how long it is good. The table holds it in place: a look-up waits for
/// memory at one address fewer.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) session: Session,
    pub(crate) id: SessionId,
    /// It is good for who would ask this server,
    pub(crate) instance: StoreInstance,
    /// in this epoch,
    pub(crate) epoch: u64,
    /// as long as its records are as they were seen before it was read,
    pub(crate) seen: Seen,
    /// and until its record ends, of which a store may tell late.
    pub(crate) ends: Moment,
}

type Table = Cache<TokenHash, Entry, Weigher, BuildHasherDefault<TokenHasher>>;

/// At most so many copies, of at most so many bytes: then those that are least asked for go.
pub(crate) struct Entries {
    table: Table,
}

impl Entries {
    #[expect(clippy::expect_used, reason = "the options are fixed")]
    pub(crate) fn new(settings: &NearCacheSettings) -> Self {
        let max_entries = settings.max_entries.max(1);
        let weigher = Weigher {
            least: settings.max_bytes.div_ceil(max_entries) as u64,
        };
        let options = OptionsBuilder::new()
            .estimated_items_capacity(max_entries)
            .weight_capacity(settings.max_bytes as u64)
            .shards(shards(settings.max_bytes))
            // Names of what was let go are not remembered: they would make the tables larger.
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

    pub(crate) fn get(&self, name: TokenHash) -> Option<Entry> {
        self.table.get(&name)
    }

    pub(crate) fn put(&self, name: TokenHash, entry: Entry) {
        self.table.insert(name, entry);
    }

    pub(crate) fn remove(&self, name: TokenHash) {
        self.table.remove(&name);
    }

    /// Lets go of what is not good any more, which wipes it.
    pub(crate) fn retain(&self, is_good: impl Fn(&Entry) -> bool) {
        self.table.retain(|_, entry| is_good(entry));
    }

    pub(crate) fn clear(&self) {
        self.table.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

/// Each shard has a lock and a share of the room, in which several of the largest sessions must find
/// place.
fn shards(max_bytes: usize) -> usize {
    const LARGEST: usize = ENTRY_BYTES + Cookies::MAX_TOTAL_LEN + BaseUrl::MAX_LEN;
    (max_bytes / (8 * LARGEST)).clamp(1, MAX_SHARDS)
}

/// Weighs bytes, and each entry as at least its share of them: so both bounds hold.
#[derive(Clone)]
struct Weigher {
    least: u64,
}

impl Weighter<TokenHash, Entry> for Weigher {
    fn weight(&self, _: &TokenHash, entry: &Entry) -> u64 {
        let Session {
            cookies,
            base_url,
            subject,
            label,
            ..
        } = &entry.session;
        let cookies = cookies
            .iter()
            .map(|(name, value)| name.len() + value.len() + 2);
        let subject = subject.as_ref().map_or(0, |subject| subject.as_str().len());
        let label = label.as_ref().map_or(0, |label| label.as_str().len());
        let texts = cookies.sum::<usize>() + base_url.as_str().len() + subject + label;
        let bytes = ENTRY_BYTES + texts;
        (bytes as u64).max(self.least)
    }
}
