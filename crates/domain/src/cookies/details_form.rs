//! Binary form of cookie attributes, and of the cookies outside the flat map, for session records.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{Cookies, attributes::CookieAttributes, other_cookie::OtherCookie};

/// Binary form of the cookie data that is not part of the flat map (the map of cookie names to
/// values). The form is encoded with [postcard](https://postcard.jamesmunns.com/wire-format). The
/// fields of this struct must not change, because stored records contain this form.
#[derive(Serialize, Deserialize)]
pub(crate) struct DetailsForm<'a> {
    /// Attributes of the cookies in the flat map, in the order of the map.
    #[serde(borrow)]
    attributes: Vec<Option<AttributesForm<'a>>>,
    #[serde(borrow)]
    others: Vec<OtherForm<'a>>,
}

#[derive(Serialize, Deserialize)]
struct AttributesForm<'a> {
    domain: &'a str,
    host_only: bool,
    path: &'a str,
    secure: bool,
    expires_micros: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct OtherForm<'a> {
    name: &'a str,
    value: &'a str,
    #[serde(borrow)]
    attributes: AttributesForm<'a>,
    position: usize,
}

impl Cookies {
    /// Returns the binary form of the attributes of cookies and of the cookies outside the flat
    /// map, for records. Returns no bytes if no cookie has attributes.
    ///
    /// ```
    /// use tee_session_domain::{BaseUrl, CookieUrl, Cookies, SetCookieLines};
    /// # use tee_session_domain::time::OffsetDateTime;
    ///
    /// let base_url: BaseUrl = "https://golf.example".parse()?;
    /// let url = CookieUrl::parse("https://golf.example/login").ok_or("a URL")?;
    /// let lines = SetCookieLines::new(url, ["id=1; Path=/; Secure".to_owned()]);
    /// let merged = Cookies::default().merged(&lines, &base_url, OffsetDateTime::UNIX_EPOCH);
    /// let cookies = merged.cookies.ok_or("a change")?;
    ///
    /// let flat = Cookies::from_stored(cookies.iter())?;
    /// assert_ne!(flat, cookies);
    /// assert_eq!(flat.with_details_from_bytes(&cookies.details_to_bytes()), cookies);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "strings and numbers into a Vec cannot fail"
    )]
    pub fn details_to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let Some(form) = DetailsForm::of(self) else {
            return Zeroizing::default();
        };
        // The full capacity is reserved first: a growing `Vec` leaves its old memory unwiped.
        let bytes = Vec::with_capacity(form.max_len());
        Zeroizing::new(postcard::to_extend(&form, bytes).expect("attributes can be encoded"))
    }

    /// Adds the details in `bytes` to these cookies: the attributes of the cookies in the flat map,
    /// and the cookies outside it. `bytes` is the result of
    /// [`details_to_bytes`](Self::details_to_bytes). Any bytes after this result are ignored.
    /// Returns the cookies unchanged if `bytes` cannot be decoded, or does not fit the flat map.
    #[must_use]
    pub fn with_details_from_bytes(self, bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return self;
        }
        match postcard::take_from_bytes::<DetailsForm<'_>>(bytes) {
            Ok((form, _)) => form.add_to(self),
            Err(_) => self,
        }
    }
}

impl<'a> DetailsForm<'a> {
    /// Returns the binary form of the attributes of `cookies`, and of the cookies outside the flat
    /// map. Returns `None` if no cookie has attributes.
    pub(crate) fn of(cookies: &'a Cookies) -> Option<Self> {
        let form = |other: &'a OtherCookie| OtherForm {
            name: &other.name,
            value: &other.value,
            attributes: AttributesForm::of(&other.attributes),
            position: other.position,
        };
        cookies.has_details().then(|| Self {
            attributes: cookies
                .with_attributes()
                .map(|(_, _, attributes)| attributes.map(AttributesForm::of))
                .collect(),
            others: cookies.others().iter().map(form).collect(),
        })
    }

    /// Adds the attributes, and the cookies outside the flat map, to `cookies`, the cookies in the
    /// flat map (cookie names to values).
    pub(crate) fn add_to(self, cookies: Cookies) -> Cookies {
        let attributes = self.attributes.into_iter();
        let attributes = attributes.map(|own| own.map(AttributesForm::parse));
        let others = self.others.into_iter().map(|other| OtherCookie {
            name: other.name.to_owned(),
            value: Zeroizing::new(other.value.to_owned()),
            attributes: other.attributes.parse(),
            position: other.position,
        });
        cookies.with_details(attributes.collect(), others.collect())
    }

    /// Returns an upper bound for the length of the encoded form in bytes.
    pub(crate) fn max_len(&self) -> usize {
        // A length, a number or a mark takes at most ten bytes.
        let own = |own: &AttributesForm<'_>| own.domain.len() + own.path.len() + 50;
        let attributes = self.attributes.iter();
        let attributes = attributes.map(|attributes| 1 + attributes.as_ref().map_or(0, own));
        let others = self.others.iter();
        let others =
            others.map(|other| other.name.len() + other.value.len() + 30 + own(&other.attributes));
        20 + attributes.sum::<usize>() + others.sum::<usize>()
    }
}

impl<'a> AttributesForm<'a> {
    fn of(attributes: &'a CookieAttributes) -> Self {
        Self {
            domain: &attributes.domain,
            host_only: attributes.host_only,
            path: &attributes.path,
            secure: attributes.secure,
            expires_micros: attributes.expires.map(to_micros),
        }
    }

    fn parse(self) -> CookieAttributes {
        CookieAttributes {
            domain: self.domain.to_owned(),
            host_only: self.host_only,
            path: self.path.to_owned(),
            secure: self.secure,
            expires: self.expires_micros.and_then(from_micros),
        }
    }
}

fn to_micros(time: OffsetDateTime) -> i64 {
    i64::try_from((time - OffsetDateTime::UNIX_EPOCH).whole_microseconds()).unwrap_or(i64::MAX)
}

/// Converts microseconds since the Unix epoch to a time. Returns `None` for a year that RFC 3339
/// cannot express.
fn from_micros(micros: i64) -> Option<OffsetDateTime> {
    let time = OffsetDateTime::UNIX_EPOCH.checked_add(time::Duration::microseconds(micros));
    time.filter(|time| (0..10_000).contains(&time.year()))
}
