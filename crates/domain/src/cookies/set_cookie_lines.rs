//! Input of a merge: the `Set-Cookie` lines of one answer of a site.

use std::fmt;

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::cookie_url::CookieUrl;

/// The `Set-Cookie` lines of one answer of a site, to be merged into the cookies of a session.
///
/// Cookies are secrets, so `Debug` shows only the number of lines.
pub struct SetCookieLines {
    pub(super) url: CookieUrl,
    pub(super) lines: Vec<Zeroizing<String>>,
    pub(super) date: Option<OffsetDateTime>,
    sent: Option<Vec<(String, Option<Zeroizing<String>>)>>,
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

    pub(crate) fn url(&self) -> &CookieUrl {
        &self.url
    }

    /// Returns `true` if the request may have carried this cookie.
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
