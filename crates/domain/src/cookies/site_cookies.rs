//! The cookie jar of a session: cookies with the scope and the lifetime that the site has set.

use std::{borrow::Cow, sync::Arc};

use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::{
    Cookies,
    attributes::CookieAttributes,
    cookie_url::CookieUrl,
    header::{self, UnsendableCookie},
    ignored_line::IgnoredLine,
    jar::Jar,
    merge::{Entry, Merge},
    other_cookie::{Details, OtherCookie},
    projection::{Projection, project},
    rules,
    set_cookie_lines::SetCookieLines,
};
use crate::BaseUrl;

/// Result of merging `Set-Cookie` lines into the cookies of a session.
#[derive(Debug)]
pub struct MergedCookies {
    /// The merged cookies. `None` if they have not changed so much that the session must be written
    /// to the store.
    pub cookies: Option<Cookies>,
    /// `Set-Cookie` lines that were ignored.
    pub ignored: Vec<IgnoredLine>,
}

impl Cookies {
    /// Adds the attributes of cookies, and the cookies outside the flat map, from a stored record.
    /// `attributes` has one entry for each cookie of the flat map, in the order of the map. Returns
    /// the cookies unchanged if the number of entries differs, if a cookie of `others` has a name
    /// that the flat map does not contain, or if a text contains a control character.
    #[must_use]
    pub fn with_details(
        mut self,
        attributes: Vec<Option<CookieAttributes>>,
        others: Vec<OtherCookie>,
    ) -> Self {
        let is_valid = |own: &CookieAttributes| {
            !rules::has_control(&own.domain) && !rules::has_control(&own.path)
        };
        let is_valid_other = |other: &OtherCookie| {
            self.iter().any(|(name, _)| name == other.name)
                && !rules::has_control(&other.value)
                && is_valid(&other.attributes)
        };
        if attributes.len() != self.len()
            || !attributes.iter().flatten().all(is_valid)
            || !others.iter().all(is_valid_other)
        {
            return self;
        }
        let details = Details { attributes, others };
        if let Some(jar) = Arc::get_mut(&mut self.0) {
            jar.set_details(details);
            return self;
        }
        let mut jar = Jar::new(self.iter());
        jar.set_details(details);
        Self(Arc::new(jar))
    }

    /// Moves the expiry time of each cookie by `step`, for a store whose clock was corrected.
    #[must_use]
    pub fn with_expiries_moved(self, step: Duration) -> Self {
        let Some(details) = self.0.details().filter(|_| !step.is_zero()) else {
            return self;
        };
        let mut details = details.clone();
        let others = details.others.iter_mut().map(|other| &mut other.attributes);
        for attributes in details.attributes.iter_mut().flatten().chain(others) {
            attributes.expires = attributes.expires.map(|end| end.saturating_add(step));
        }
        let mut jar = Jar::new(self.iter());
        jar.set_details(details);
        Self(Arc::new(jar))
    }

    /// Returns name, value and attributes of each cookie in the flat map (one cookie of each name).
    /// Cookies that were not set by a `Set-Cookie` line have no attributes.
    pub fn with_attributes(
        &self,
    ) -> impl Iterator<Item = (&str, Option<&str>, Option<&CookieAttributes>)> {
        let details = self.0.details();
        let attributes = details.map(|details| details.attributes.as_slice());
        let attributes = attributes.unwrap_or_default();
        let cookies = self.iter().enumerate();
        cookies.map(|(index, (name, value))| {
            (name, value, attributes.get(index).and_then(Option::as_ref))
        })
    }

    /// Returns the cookies outside the flat map. For each of them, the flat map contains another
    /// cookie with the same name. Sorted by the time at which they got their values, oldest first.
    #[must_use]
    pub fn others(&self) -> &[OtherCookie] {
        self.0.details().map_or(&[], |details| &details.others)
    }

    /// Returns the memory of all names, values and attributes in bytes, without the overhead of the
    /// memory allocator.
    #[must_use]
    pub fn memory_len(&self) -> usize {
        let details = self.0.details().map_or(0, Details::memory_len);
        self.nul_terminated().len() + details
    }

    /// Returns `true` if at least one cookie has attributes.
    #[must_use]
    pub fn has_details(&self) -> bool {
        self.0.details().is_some()
    }

    /// Returns the value of the `Cookie` header field for a request to `url`, as browsers compute
    /// it (RFC 6265bis, section 5.8.3). Returns `None` if no cookie is sent to `url`. `base_url` is
    /// the base URL of the session, and `now` is the current time. A cookie without attributes is
    /// sent to all paths of the host of `base_url`.
    ///
    /// # Errors
    /// Fails if the value of a cookie contains `;`, because the site would read the rest of the
    /// value as another cookie.
    pub fn header_for(
        &self,
        url: &CookieUrl,
        base_url: &BaseUrl,
        now: OffsetDateTime,
    ) -> Result<Option<Zeroizing<String>>, UnsendableCookie> {
        let host = base_url.ascii_host();
        header::cookie_header(&self.entries(), host.as_deref(), url, now)
    }

    /// Merges the cookies that the site has set, one after the other, as browsers do (RFC 6265bis,
    /// section 5.7). `now` is the current time on the clock of the store.
    ///
    /// These are the main differences from browsers; `docs/standards.md` lists all. A cookie
    /// without attributes has an unknown path. It is therefore replaced or removed by the next
    /// cookie with its name that the site sets for `base_url` or for the URL of the request. The
    /// host-only flag is not part of the identity of a cookie. A stored cookie is never removed to
    /// make room for another one. The name and the value together may have
    /// [`MAX_LEN`](Self::MAX_LEN) bytes, while browsers allow 4096 bytes.
    #[must_use]
    pub fn merged(
        &self,
        update: &SetCookieLines,
        base_url: &BaseUrl,
        now: OffsetDateTime,
    ) -> MergedCookies {
        let mut merge = Merge::new(self.entries(), update, base_url, now);
        let ignored = merge.run();
        let cookies = merge
            .is_changed()
            .then(|| Self::from_entries(merge.entries, base_url));
        MergedCookies { cookies, ignored }
    }

    /// Returns the cookies that have not expired at the time `now`. Returns `None` if no cookie has
    /// expired. The flat map of the result is computed for `base_url`.
    pub(crate) fn without_expired(&self, base_url: &BaseUrl, now: OffsetDateTime) -> Option<Self> {
        let details = self.0.details()?;
        let others = details.others.iter().map(|other| &other.attributes);
        let mut all = details.attributes.iter().flatten().chain(others);
        if !all.any(|attributes| attributes.is_expired(now)) {
            return None;
        }
        let mut entries = self.entries();
        entries.retain(|entry| !entry.is_expired(now));
        Some(Self::from_entries(entries, base_url))
    }

    /// Returns a copy with `changes` (names and new values), which the caller has validated. A new
    /// value replaces all cookies of the name by one cookie without attributes. `None` removes all
    /// cookies of the name. The flat map of the result is computed for `base_url`.
    pub(crate) fn changed<'a>(
        &'a self,
        changes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
        base_url: &BaseUrl,
    ) -> Self {
        let mut entries = self.entries();
        for (name, value) in changes {
            let position = entries.iter().position(|entry| entry.name == name);
            entries.retain(|entry| entry.name != name);
            if let Some(value) = value {
                let position = position.unwrap_or(entries.len());
                entries.insert(position, Entry::without_attributes(name, Some(value)));
            }
        }
        Self::from_entries(entries, base_url)
    }

    /// Returns all cookies in the order of their creation.
    fn entries(&self) -> Vec<Entry<'_>> {
        let others = self.others();
        let mut entries = Vec::with_capacity(self.len() + others.len());
        entries.extend(self.with_attributes().map(|(name, value, attributes)| {
            Entry {
                name,
                value,
                attributes: attributes.map(Cow::Borrowed),
                // The cookies of the flat map are assumed to be newer than all others.
                rank: others.len(),
            }
        }));
        let mut by_position: Vec<_> = others.iter().enumerate().collect();
        by_position.sort_by_key(|(_, other)| other.position);
        for (rank, other) in by_position {
            let entry = Entry {
                name: &other.name,
                value: Some(&other.value),
                attributes: Some(Cow::Borrowed(&other.attributes)),
                rank,
            };
            entries.insert(other.position.min(entries.len()), entry);
        }
        entries
    }

    /// Builds the jar from `entries`, without checking their names and values again. The flat map
    /// is computed for `base_url`.
    fn from_entries(entries: Vec<Entry<'_>>, base_url: &BaseUrl) -> Self {
        let base_url = CookieUrl::of(base_url);
        let Projection { flat, others } = project(entries, base_url.as_ref());
        let others = others.into_iter().map(|(position, entry)| OtherCookie {
            name: entry.name.to_owned(),
            // Only the flat map can hold a cookie without a value. If another cookie of the name
            // takes its place there, the cookie gets the empty value.
            value: Zeroizing::new(entry.value.unwrap_or_default().to_owned()),
            attributes: match entry.attributes {
                Some(attributes) => attributes.into_owned(),
                None => CookieAttributes::of_login(base_url.as_ref()),
            },
            position,
        });
        let others = others.collect();
        let mut jar = Jar::new(flat.iter().map(|entry| (entry.name, entry.value)));
        let attributes = flat.into_iter().map(|entry| entry.attributes);
        let attributes = attributes.map(|own| own.map(Cow::into_owned)).collect();
        jar.set_details(Details { attributes, others });
        Self(Arc::new(jar))
    }
}
