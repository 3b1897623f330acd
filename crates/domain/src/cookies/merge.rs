//! Merge of the cookies that a site has set into the cookies of a session.

use std::{borrow::Cow, fmt};

use indexmap::IndexMap;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{
    acceptance::{Accepted, Answer, accept},
    attributes::CookieAttributes,
    cookie_url::CookieUrl,
    ignored_line::{IgnoreReason, IgnoredLine},
    matching::{domain_matches, path_matches},
    rules,
};

/// The `Set-Cookie` lines of one answer of a site, to be merged into the cookies of a session.
///
/// Cookies are secrets, so `Debug` shows only the number of lines.
pub struct SetCookieLines {
    url: CookieUrl,
    lines: Vec<Zeroizing<String>>,
    date: Option<OffsetDateTime>,
    sent: Option<IndexMap<String, Option<Zeroizing<String>>>>,
}

impl SetCookieLines {
    /// Creates an update from the values of the `Set-Cookie` header fields of the answer to a
    /// request to `url`.
    #[must_use]
    pub fn new(url: CookieUrl, lines: impl IntoIterator<Item = String>) -> Self {
        Self {
            url,
            lines: lines.into_iter().map(Zeroizing::new).collect(),
            date: None,
            sent: None,
        }
    }

    pub(crate) fn url(&self) -> &CookieUrl {
        &self.url
    }

    /// Sets the time of the answer on the clock of the site (header field `Date`). Times of expiry
    /// are then counted from this time, so that a wrong clock makes no difference. Without it, the
    /// clock of the site is assumed to be right.
    #[must_use]
    pub fn answered_at(mut self, date: OffsetDateTime) -> Self {
        self.date = Some(date);
        self
    }

    /// Sets the cookies that the request carried: names and values, `None` for a cookie without a
    /// value. A removal then counts only if the stored value is the one that was sent. Otherwise,
    /// the late answer to a request with an old value could remove a newer cookie.
    #[must_use]
    pub fn sent(mut self, cookies: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        let cookies = cookies.into_iter();
        let wiped = |(name, value): (String, Option<String>)| (name, value.map(Zeroizing::new));
        self.sent = Some(cookies.map(wiped).collect());
        self
    }
}

impl fmt::Debug for SetCookieLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetCookieLines({} redacted)", self.lines.len())
    }
}

/// A stored cookie with its attributes. A cookie without attributes was not set by a `Set-Cookie`
/// line, so that its scope is not known.
#[derive(Clone)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) value: Option<&'a str>,
    pub(super) attributes: Option<Cow<'a, CookieAttributes>>,
    /// Order in which the cookies got their values. A cookie with a higher rank is newer.
    pub(super) rank: usize,
}

impl Entry<'_> {
    fn is_expired(&self, now: OffsetDateTime) -> bool {
        let attributes = self.attributes.as_ref();
        attributes.is_some_and(|attributes| attributes.is_expired(now))
    }

    /// Returns `true` if a new cookie with `attributes` and the same name replaces this cookie.
    fn is_replaced_by(&self, attributes: &CookieAttributes) -> bool {
        let own = self.attributes.as_ref();
        // A cookie without attributes came from a map of names and values, which has only one
        // cookie of each name, and does not tell its path. If such a cookie stayed beside the one
        // that the site sets, the site would continue to get the old value.
        own.is_none_or(|own| own.has_scope_of(attributes))
    }
}

/// All cookies of a session during a merge, in their order.
pub(super) struct Merge<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    stored: Vec<Entry<'a>>,
    now: OffsetDateTime,
}

impl<'a> Merge<'a> {
    /// Begins with the stored cookies. Removes those that have expired.
    pub(super) fn new(stored: Vec<Entry<'a>>, now: OffsetDateTime) -> Self {
        let mut entries = stored.clone();
        entries.retain(|entry| !entry.is_expired(now));
        Self {
            entries,
            stored,
            now,
        }
    }

    /// Returns `true` if the cookies differ from the stored cookies in a way that is worth a write
    /// to the store.
    pub(super) fn is_changed(&self) -> bool {
        let pairs = || self.stored.iter().zip(&self.entries);
        self.stored.len() != self.entries.len()
            || pairs().any(|(old, new)| old.name != new.name)
            || pairs().any(|(old, new)| is_worth_writing(old, new, self.now))
    }

    /// Merges the lines one after the other. Returns the lines that were ignored.
    pub(super) fn merge(&mut self, update: &'a SetCookieLines) -> Vec<IgnoredLine> {
        let answer = Answer {
            url: &update.url,
            now: self.now,
            date: update.date,
        };
        let mut ignored = Vec::new();
        for (index, line) in update.lines.iter().enumerate() {
            let merged = accept(line, &answer).and_then(|cookie| self.apply(cookie, update));
            if let Err(reason) = merged {
                ignored.push(IgnoredLine { index, reason });
            }
        }
        ignored
    }

    fn apply(&mut self, cookie: Accepted<'a>, update: &SetCookieLines) -> Result<(), IgnoreReason> {
        if !update.url.is_https && self.would_replace_secure(&cookie) {
            return Err(IgnoreReason::Insecure);
        }
        let position = self.entries.iter().position(|entry| {
            entry.name == cookie.name && entry.is_replaced_by(&cookie.attributes)
        });
        if cookie.attributes.is_expired(self.now) {
            if let Some(position) = position
                && self.removal_counts(position, update)
            {
                self.entries.remove(position);
            }
            return Ok(());
        }
        self.check_room(&cookie, position)?;
        let rank = self.entries.iter().map(|entry| entry.rank + 1).max();
        let new = Entry {
            name: cookie.name,
            value: Some(cookie.value),
            attributes: Some(Cow::Owned(cookie.attributes)),
            rank: rank.unwrap_or_default(),
        };
        match position.and_then(|position| self.entries.get_mut(position)) {
            Some(old) => *old = new,
            None => self.entries.push(new),
        }
        Ok(())
    }

    /// Returns `true` if the cookie would replace, or be sent before, a `Secure` cookie of the same
    /// name (RFC 6265bis, section 5.7, step 16).
    fn would_replace_secure(&self, cookie: &Accepted<'_>) -> bool {
        let new = &cookie.attributes;
        let mut namesakes = self
            .entries
            .iter()
            .filter(|entry| entry.name == cookie.name);
        namesakes.any(|entry| {
            entry.attributes.as_ref().is_some_and(|old| {
                old.secure
                    && (domain_matches(&old.domain, &new.domain)
                        || domain_matches(&new.domain, &old.domain))
                    && path_matches(&new.path, &old.path)
            })
        })
    }

    fn removal_counts(&self, position: usize, update: &SetCookieLines) -> bool {
        let (Some(entry), Some(sent)) = (self.entries.get(position), &update.sent) else {
            return true;
        };
        let sent = sent.get(entry.name);
        sent.is_some_and(|sent| sent.as_ref().map(|value| value.as_str()) == entry.value)
    }

    /// Checks that the session has room for the cookie in place of the cookie at `replaced`. A
    /// stored cookie is never removed to make room, because that could end a login.
    fn check_room(
        &self,
        cookie: &Accepted<'_>,
        replaced: Option<usize>,
    ) -> Result<(), IgnoreReason> {
        let before = Size::of(&self.entries);
        let others = self.entries.iter().enumerate();
        let others = others.filter(|(index, _)| Some(*index) != replaced);
        let mut after = Size::of(others.map(|(_, entry)| entry));
        after.count += 1;
        after.text_len += cookie.name.len() + cookie.value.len();
        after.attributes_len += cookie.attributes.text_len();
        // A session that another program stored may exceed the limits. It must not grow further.
        let fits = after.count <= rules::MAX_COUNT.max(before.count)
            && after.text_len <= rules::MAX_TOTAL_LEN.max(before.text_len)
            && after.attributes_len <= rules::MAX_ATTRIBUTES_LEN.max(before.attributes_len);
        if fits {
            Ok(())
        } else {
            Err(IgnoreReason::Full)
        }
    }
}

/// Number of cookies, and total lengths of their texts in bytes.
struct Size {
    count: usize,
    text_len: usize,
    attributes_len: usize,
}

impl Size {
    fn of<'a, 'b: 'a>(entries: impl IntoIterator<Item = &'a Entry<'b>>) -> Self {
        let mut size = Self {
            count: 0,
            text_len: 0,
            attributes_len: 0,
        };
        for entry in entries {
            size.count += 1;
            size.text_len += entry.name.len() + entry.value.map_or(0, str::len);
            size.attributes_len += entry.attributes.as_ref().map_or(0, |own| own.text_len());
        }
        size
    }
}

/// Returns `true` if the difference between the cookies is worth a write to the store. Many sites
/// set the same cookie with every answer, with a new time of expiry. Such a cookie is written only
/// if the remaining lifetime differs by more than a factor of two.
fn is_worth_writing(old: &Entry<'_>, new: &Entry<'_>, now: OffsetDateTime) -> bool {
    let is_other_scope = match (&old.attributes, &new.attributes) {
        (None, None) => false,
        (Some(old), Some(new)) => {
            !old.has_scope_of(new)
                || old.host_only != new.host_only
                || old.secure != new.secure
                || is_other_lifetime(old.expires, new.expires, now)
        }
        _ => true,
    };
    old.value != new.value || is_other_scope
}

fn is_other_lifetime(
    old: Option<OffsetDateTime>,
    new: Option<OffsetDateTime>,
    now: OffsetDateTime,
) -> bool {
    match (old, new) {
        (None, None) => false,
        (Some(old), Some(new)) => {
            let (old, new) = (old - now, new - now);
            old * 2 < new || new * 2 < old
        }
        _ => true,
    }
}

/// Divides cookies into those of the flat map, with one cookie of each name, and all others. The
/// flat map contains the cookie that a request to `base_url` carries first (RFC 6265bis, section
/// 5.8.3: the longest path, then the earliest). If such a request carries no cookie of the name, it
/// contains the newest.
pub(super) fn project<'a>(
    entries: Vec<Entry<'a>>,
    base_url: Option<&CookieUrl>,
) -> (Vec<Entry<'a>>, Vec<Entry<'a>>) {
    let mut by_name: IndexMap<&str, Vec<Entry<'a>>> = IndexMap::new();
    for entry in entries {
        by_name.entry(entry.name).or_default().push(entry);
    }
    let (mut flat, mut others) = (Vec::with_capacity(by_name.len()), Vec::new());
    for mut namesakes in by_name.into_values() {
        if let Some(chosen) = choose(&namesakes, base_url) {
            flat.push(namesakes.remove(chosen));
        }
        others.append(&mut namesakes);
    }
    (flat, others)
}

fn choose(namesakes: &[Entry<'_>], base_url: Option<&CookieUrl>) -> Option<usize> {
    let priority = |(index, entry): &(usize, &Entry<'_>)| {
        let path_len = match (&entry.attributes, base_url) {
            (None, _) => Some(1),
            (Some(attributes), Some(url)) if attributes.is_sent_to(url) => {
                Some(attributes.path.len())
            }
            _ => None,
        };
        // A cookie that is sent has a higher priority than one that is not.
        (
            path_len,
            path_len.map_or(entry.rank, |_| usize::MAX - index),
        )
    };
    let entries = namesakes.iter().enumerate();
    entries.max_by_key(priority).map(|(index, _)| index)
}
