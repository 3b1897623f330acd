//! Input of a merge: the `Set-Cookie` lines of one answer of a site.

use std::fmt;

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{
    cookie_url::CookieUrl,
    set_cookie::{Lifetime, SetCookie},
};

/// The `Set-Cookie` lines of one answer of a site. The lines are merged into the cookies of a
/// session.
///
/// Cookies are secrets, so `Debug` shows only the number of lines.
pub struct SetCookieLines {
    pub(super) url: CookieUrl,
    pub(super) lines: Vec<Zeroizing<String>>,
    pub(super) date: Option<OffsetDateTime>,
    sent: Option<Vec<(String, Option<Zeroizing<String>>)>>,
    /// For a late merge (see [`late`](Self::late)): the cookies that earlier answers have set or
    /// removed. `None` for any other merge.
    earlier: Option<Vec<EarlierCookie>>,
}

/// A cookie that an earlier answer has set or removed.
struct EarlierCookie {
    name: String,
    value: Zeroizing<String>,
    lifetime: Option<Lifetime>,
    /// Time of the answer on the clock of the site.
    date: Option<OffsetDateTime>,
}

impl EarlierCookie {
    /// Returns `true` if the answer removed the cookie. `now` is the current time on the clock of
    /// the store.
    fn is_removed(&self, now: OffsetDateTime) -> bool {
        match self.lifetime {
            Some(Lifetime::MaxAge(age)) => !age.is_positive(),
            Some(Lifetime::Expires(time)) => time <= self.date.unwrap_or(now),
            None => false,
        }
    }
}

impl SetCookieLines {
    /// Creates the input of a merge. `lines` are the values of the `Set-Cookie` header fields in
    /// the answer to a request for `url`.
    #[must_use]
    pub fn new(url: CookieUrl, lines: impl IntoIterator<Item = String>) -> Self {
        Self {
            url,
            lines: lines.into_iter().map(Zeroizing::new).collect(),
            date: None,
            sent: None,
            earlier: None,
        }
    }

    /// Sets the time of the answer on the clock of the site (header field `Date`). Expiry times are
    /// then relative to this time, so that a wrong clock of the site has no effect. Without this
    /// time, the clock of the site is assumed to be right.
    #[must_use]
    pub fn answered_at(mut self, date: OffsetDateTime) -> Self {
        self.date = Some(date);
        self
    }

    /// Sets the cookies that the request to the site carried, as pairs of name and value. The value
    /// is `None` for a cookie without a value.
    ///
    /// A line that removes a cookie then has an effect only if the stored value is the value that
    /// the request carried, or a value that an earlier line of this answer has set. Otherwise, a
    /// late answer to a request with an old cookie could remove a newer cookie.
    #[must_use]
    pub fn sent(mut self, cookies: impl IntoIterator<Item = (String, Option<String>)>) -> Self {
        let cookies = cookies.into_iter();
        let wiped = |(name, value): (String, Option<String>)| (name, value.map(Zeroizing::new));
        self.sent = Some(cookies.map(wiped).collect());
        self
    }

    /// Returns the same lines for a late merge (a merge that was delayed because the store was
    /// unavailable when the answer arrived). `earlier` are the earlier answers whose merges were
    /// late, too. A line has an effect only if the stored cookie is still as the request carried
    /// it, or as an answer of `earlier` has left it. Otherwise, the late merge could replace a
    /// newer cookie, or restore a removed one.
    #[must_use]
    pub fn late(&self, earlier: &[Self]) -> Self {
        Self {
            url: self.url.clone(),
            lines: self.lines.clone(),
            date: self.date,
            sent: self.sent.clone(),
            earlier: Some(earlier.iter().flat_map(Self::cookies).collect()),
        }
    }

    /// Returns the cookies that the lines set or remove.
    fn cookies(&self) -> impl Iterator<Item = EarlierCookie> {
        let cookies = self.lines.iter().filter_map(|line| SetCookie::parse(line));
        cookies.map(|cookie| EarlierCookie {
            name: cookie.name.to_owned(),
            value: Zeroizing::new(cookie.value.to_owned()),
            lifetime: cookie.lifetime,
            date: self.date,
        })
    }

    /// Returns `true` if this merge is late.
    pub(super) fn is_late(&self) -> bool {
        self.earlier.is_some()
    }

    /// Returns `true` if this merge is late and the stored cookie of this name is newer than the
    /// answer. `stored` is the value of the cookie, or `None` if there is no such cookie. `now` is
    /// the current time on the clock of the store.
    pub(super) fn is_superseded(
        &self,
        name: &str,
        stored: Option<Option<&str>>,
        now: OffsetDateTime,
    ) -> bool {
        let Some(earlier) = &self.earlier else {
            return false;
        };
        let mut earlier = earlier.iter().filter(|earlier| earlier.name == name);
        let is_of_earlier = earlier.any(|earlier| {
            let value = (!earlier.is_removed(now)).then(|| earlier.value.as_str());
            stored.map(Option::unwrap_or_default) == value
        });
        let is_of_request = match stored {
            Some(value) => self.may_have_sent(name, value),
            None => (self.sent.iter().flatten()).all(|(sent, _)| sent != name),
        };
        !is_of_earlier && !is_of_request
    }

    pub(crate) fn url(&self) -> &CookieUrl {
        &self.url
    }

    /// Returns `true` if the request carried this cookie, or if the cookies of the request are not
    /// known.
    pub(super) fn may_have_sent(&self, name: &str, value: Option<&str>) -> bool {
        let Some(sent) = &self.sent else { return true };
        // Several cookies of one name may have been sent.
        let mut sent = sent.iter().filter(|(sent, _)| sent == name);
        sent.any(|(_, sent)| sent.as_ref().map(|value| value.as_str()) == value)
    }
}

impl fmt::Debug for SetCookieLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetCookieLines({} redacted)", self.lines.len())
    }
}
