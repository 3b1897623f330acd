//! Conversions between JSON values and the types of the crate `tee-session-domain`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
};
use tee_session_domain::{BaseUrl, Cookies};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

pub(crate) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<OffsetDateTime, D::Error> {
    let text = String::deserialize(from)?;
    OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| D::Error::custom("not an RFC 3339 time"))
}

/// Parses a time of a member that may be absent. A field with this parser also needs
/// `#[serde(default)]`.
pub(crate) fn optional_time<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<OffsetDateTime>, D::Error> {
    time(from).map(Some)
}

pub(crate) fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_secs)
}

/// Parses a JSON string with [`FromStr`]. The string is zeroized after parsing, because it may be a
/// secret.
pub(crate) fn parsed<'de, D: Deserializer<'de>, T: FromStr>(from: D) -> Result<T, D::Error> {
    let text = Zeroizing::new(String::deserialize(from)?);
    text.parse().map_err(|_| D::Error::custom("invalid format"))
}

/// Parses a JSON string that is a secret. The string is wiped from memory on drop.
pub(crate) fn wiped<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

/// Parses the base URL of a stored session. The rules for new sessions are not applied, because the
/// store may contain older sessions that violate the rules.
pub(crate) fn base_url<'de, D: Deserializer<'de>>(from: D) -> Result<BaseUrl, D::Error> {
    BaseUrl::from_stored(String::deserialize(from)?).map_err(D::Error::custom)
}

/// Parses the cookies of a stored session. The rules for new sessions are not applied, because the
/// store may contain older sessions that violate the rules.
pub(crate) fn cookies<'de, D: Deserializer<'de>>(from: D) -> Result<Cookies, D::Error> {
    from.deserialize_map(CookiesVisitor)
}

struct CookiesVisitor;

impl<'de> Visitor<'de> for CookiesVisitor {
    type Value = Cookies;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings and nulls")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cookies, A::Error> {
        let mut cookies = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Option<String>>()? {
            cookies.push((name, value.map(Zeroizing::new)));
        }
        let cookies = cookies.iter().map(|(name, value)| (name, value.as_ref()));
        Cookies::from_stored(cookies).map_err(A::Error::custom)
    }
}

pub(crate) fn cookies_as_map<S: Serializer>(cookies: &Cookies, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(cookies.iter())
}

pub(crate) fn base_url_as_text<S: Serializer>(
    base_url: &BaseUrl,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_str(base_url.as_str())
}

pub(crate) fn some_base_url_as_text<S: Serializer>(
    base_url: &Option<BaseUrl>,
    to: S,
) -> Result<S::Ok, S::Error> {
    base_url.as_ref().map(BaseUrl::as_str).serialize(to)
}
