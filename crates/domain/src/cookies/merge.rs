//! Merges the cookies that a site has set into the cookies of a session.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::{
    acceptance::{Accepted, Answer, accept},
    attributes::CookieAttributes,
    cookie_url::CookieUrl,
    ignored_line::{IgnoreReason, IgnoredLine},
    matching::{domain_matches, path_matches},
    rules,
    set_cookie_lines::SetCookieLines,
};
use crate::BaseUrl;

/// A stored cookie with its attributes. A cookie that was not set by a `Set-Cookie` line has no
/// attributes, because its scope is unknown.
#[derive(Clone)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) value: Option<&'a str>,
    pub(super) attributes: Option<Cow<'a, CookieAttributes>>,
    /// Rank of the cookie by the time at which it got its value. A newer cookie has a higher rank.
    pub(super) rank: usize,
}

impl<'a> Entry<'a> {
    pub(super) fn without_attributes(name: &'a str, value: Option<&'a str>) -> Self {
        Self {
            name,
            value,
            attributes: None,
            rank: 0,
        }
    }

    pub(super) fn is_expired(&self, now: OffsetDateTime) -> bool {
        let attributes = self.attributes.as_ref();
        attributes.is_some_and(|attributes| attributes.is_expired(now))
    }
}

/// All cookies of a session during a merge, in the order of their creation.
pub(super) struct Merge<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    stored: Vec<Entry<'a>>,
    update: &'a SetCookieLines,
    base_url: Option<CookieUrl>,
    now: OffsetDateTime,
    /// Lowest rank of the cookies that this merge sets. The stored cookies have lower ranks.
    first_rank: usize,
    next_rank: usize,
}

impl<'a> Merge<'a> {
    /// Starts a merge with the stored cookies. Removes expired cookies.
    pub(super) fn new(
        stored: Vec<Entry<'a>>,
        update: &'a SetCookieLines,
        base_url: &BaseUrl,
        now: OffsetDateTime,
    ) -> Self {
        let mut entries = stored.clone();
        entries.retain(|entry| !entry.is_expired(now));
        let ranks = stored.iter().map(|entry| entry.rank + 1);
        let first_rank = ranks.max().unwrap_or_default();
        Self {
            entries,
            stored,
            update,
            base_url: CookieUrl::of(base_url),
            now,
            first_rank,
            next_rank: first_rank,
        }
    }

    /// Returns `true` if the cookies have changed so much that the session must be written to the
    /// store. A change of their order alone does not count, because some sites remove a cookie and
    /// set it again with each answer. The removal of expired cookies alone does not count either,
    /// because expired cookies are never returned or sent.
    pub(super) fn is_changed(&self) -> bool {
        let live = self.stored.iter().filter(|old| !old.is_expired(self.now));
        let is_stored = |new: &Entry<'_>| {
            let mut stored = self.stored.iter();
            stored.any(|old| old.name == new.name && !is_worth_writing(old, new, self.now))
        };
        live.count() != self.entries.len() || !self.entries.iter().all(is_stored)
    }

    /// Merges the `Set-Cookie` lines one after the other. Returns the lines that were ignored.
    pub(super) fn run(&mut self) -> Vec<IgnoredLine> {
        let update = self.update;
        let answer = Answer {
            url: &update.url,
            now: self.now,
            date: update.date,
        };
        let mut ignored = Vec::new();
        for (index, line) in update.lines.iter().enumerate() {
            let merged = accept(line, &answer).and_then(|cookie| self.apply(cookie));
            if let Err(reason) = merged {
                ignored.push(IgnoredLine { index, reason });
            }
        }
        ignored
    }

    fn apply(&mut self, cookie: Accepted<'a>) -> Result<(), IgnoreReason> {
        if !self.update.url.is_https && self.would_replace_secure(&cookie) {
            return Err(IgnoreReason::Insecure);
        }
        if self.update.is_late() && self.is_superseded(&cookie) {
            return Ok(());
        }
        let position = self.position_in(&self.entries, &cookie);
        if cookie.attributes.is_expired(self.now) {
            if let Some(position) = position
                && self.removal_counts(position)
            {
                self.entries.remove(position);
            }
            return Ok(());
        }
        self.check_room(&cookie, position)?;
        let new = Entry {
            name: cookie.name,
            value: Some(cookie.value),
            attributes: Some(Cow::Owned(cookie.attributes)),
            rank: self.next_rank,
        };
        match position.and_then(|position| self.entries.get_mut(position)) {
            // The cookie keeps its place in the order (RFC 6265bis, section 5.7, step 23).
            Some(old) => *old = new,
            None => self.entries.push(new),
        }
        self.next_rank += 1;
        Ok(())
    }

    /// Returns `true` if this is a late merge ([`SetCookieLines::late`]) and the stored cookie is
    /// newer than `cookie`.
    fn is_superseded(&self, cookie: &Accepted<'_>) -> bool {
        let position = self.position_in(&self.stored, cookie);
        let stored = position.and_then(|position| self.stored.get(position));
        (self.update).is_superseded(cookie.name, stored.map(|stored| stored.value), self.now)
    }

    /// Returns the position in `entries` of the cookie that `cookie` replaces or removes: a cookie
    /// with the same name, domain and path. If `entries` has no such cookie, returns the position of
    /// the cookie with the same name and without attributes, provided that `cookie` is sent to the
    /// base URL or to the URL of the request.
    fn position_in(&self, entries: &[Entry<'_>], cookie: &Accepted<'_>) -> Option<usize> {
        let position = |matches: &dyn Fn(&Entry<'_>) -> bool| {
            let mut entries = entries.iter();
            entries.position(|entry| entry.name == cookie.name && matches(entry))
        };
        let has_same_scope = |entry: &Entry<'_>| {
            let own = entry.attributes.as_ref();
            own.is_some_and(|own| own.has_scope_of(&cookie.attributes))
        };
        let is_for_site = cookie.attributes.is_sent_to(&self.update.url)
            || (self.base_url.as_ref()).is_some_and(|url| cookie.attributes.is_sent_to(url));
        // A cookie without attributes came from a map of names and values, so its path is unknown.
        // If it stayed in addition to a new cookie that is sent to the same URLs, the site would
        // still get the old value. A new cookie for another part of the site does not replace it.
        position(&has_same_scope)
            .or_else(|| position(&|entry| is_for_site && entry.attributes.is_none()))
    }

    /// Returns `true` if the cookie would replace a `Secure` cookie of the same name, or be sent
    /// before it (RFC 6265bis, section 5.7, step 16). If the answer came over HTTP, the cookie is
    /// then ignored.
    fn would_replace_secure(&self, cookie: &Accepted<'_>) -> bool {
        let new = &cookie.attributes;
        let mut entries = self.entries.iter();
        entries.any(|entry| {
            entry.name == cookie.name
                && entry.attributes.as_ref().is_some_and(|old| {
                    old.secure
                        && (domain_matches(&old.domain, &new.domain)
                            || domain_matches(&new.domain, &old.domain))
                        && path_matches(&new.path, &old.path)
                })
        })
    }

    /// Returns `true` if the answer may remove the cookie at `position`. An answer may remove a
    /// cookie that the request carried, or a cookie that an earlier line of the answer has set.
    fn removal_counts(&self, position: usize) -> bool {
        self.entries.get(position).is_some_and(|entry| {
            entry.rank >= self.first_rank || self.update.may_have_sent(entry.name, entry.value)
        })
    }

    /// Checks that the session has room for `cookie`, which replaces the cookie at the position
    /// `replaced`. A stored cookie is never removed to make room, because this could log the user
    /// out at the site.
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
        // A session that another program stored may exceed the limits. Such a session must not grow
        // further.
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

/// Number of cookies, and two total lengths in bytes: of the names and values, and of the domains
/// and paths.
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

/// Returns `true` if the session must be written to the store because `old` was replaced by `new`.
/// Many sites set the same cookie with every answer, with a new expiry time. Such a cookie is
/// written only if the remaining lifetimes differ by more than a factor of two.
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
