//! Selects the cookies of a session for the flat map (cookie names to values), which contains one
//! cookie of each name.

use indexmap::{IndexMap, map};

use super::{cookie_url::CookieUrl, merge::Entry};

/// All cookies of a session, divided into the cookies of the flat map and all other cookies.
pub(super) struct Projection<'a> {
    /// Cookies of the flat map: one cookie of each name, in the order of creation.
    pub(super) flat: Vec<Entry<'a>>,
    /// Cookies outside the flat map, each with its position among all cookies in the order of
    /// creation. Sorted by the time at which they got their values, oldest first.
    pub(super) others: Vec<(usize, Entry<'a>)>,
}

/// Divides cookies into the flat map and the other cookies. `entries` are in the order of creation.
/// If several cookies have the same name, the flat map contains the cookie that comes first in a
/// request to `base_url` (RFC 6265bis, section 5.8.3: the longest path, then the earliest
/// creation). If no cookie with this name is sent to `base_url`, the flat map contains the newest
/// cookie.
pub(super) fn project<'a>(entries: Vec<Entry<'a>>, base_url: Option<&CookieUrl>) -> Projection<'a> {
    let mut chosen: IndexMap<&str, (Priority, usize)> = IndexMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let priority = Priority::of(entry, index, base_url);
        match chosen.entry(entry.name) {
            map::Entry::Vacant(vacant) => {
                vacant.insert((priority, index));
            }
            map::Entry::Occupied(mut best) if best.get().0 < priority => {
                best.insert((priority, index));
            }
            map::Entry::Occupied(_) => {}
        }
    }
    let (mut flat, mut others) = (Vec::with_capacity(chosen.len()), Vec::new());
    for (index, entry) in entries.into_iter().enumerate() {
        let is_chosen = chosen.get(entry.name).is_some_and(|best| best.1 == index);
        if is_chosen {
            flat.push(entry);
        } else {
            others.push((index, entry));
        }
    }
    others.sort_by_key(|(_, entry)| entry.rank);
    Projection { flat, others }
}

/// Priority of a cookie among the cookies of the same name. The derived order ranks a cookie that
/// is sent to the base URL above a cookie that is not.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Priority {
    NotSent { rank: usize },
    Sent { path_len: usize, earliness: usize },
}

impl Priority {
    fn of(entry: &Entry<'_>, index: usize, base_url: Option<&CookieUrl>) -> Self {
        let path_len = match (&entry.attributes, base_url) {
            (None, _) => Some(1),
            (Some(own), Some(url)) if own.is_sent_to(url) => Some(own.path.len()),
            _ => None,
        };
        match path_len {
            Some(path_len) => Self::Sent {
                path_len,
                earliness: usize::MAX - index,
            },
            None => Self::NotSent { rank: entry.rank },
        }
    }
}
