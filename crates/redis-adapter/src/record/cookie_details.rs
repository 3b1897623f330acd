//! Attributes of cookies, and cookies that the flat map of a session does not contain, in the form
//! in which records contain them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tee_session_domain::{CookieAttributes, Cookies, OtherCookie};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

use super::micros::{from_micros, to_micros};

/// Details of the cookies of a sealed (encrypted) record, encoded with postcard. They follow the
/// attributes of the session. A release that does not know them ignores them, and drops them when
/// it changes the record. Each cookie is then one without attributes.
#[derive(Serialize, Deserialize)]
pub(super) struct SealedDetails<'a> {
    /// Attributes of the cookies, in the order of the cookies.
    #[serde(borrow)]
    attributes: Vec<Option<SealedAttributes<'a>>>,
    /// Names, values and attributes of all other cookies.
    #[serde(borrow)]
    others: Vec<(&'a str, &'a str, SealedAttributes<'a>)>,
}

#[derive(Serialize, Deserialize)]
struct SealedAttributes<'a> {
    domain: &'a str,
    host_only: bool,
    path: &'a str,
    secure: bool,
    expires_micros: Option<i64>,
}

impl<'a> SealedDetails<'a> {
    pub(super) fn of(cookies: &'a Cookies) -> Self {
        let all = cookies.with_attributes();
        let others = cookies.others().iter();
        Self {
            attributes: all
                .map(|(_, _, attributes)| attributes.map(SealedAttributes::of))
                .collect(),
            others: others
                .map(|other| {
                    let attributes = SealedAttributes::of(&other.attributes);
                    (other.name.as_str(), other.value.as_str(), attributes)
                })
                .collect(),
        }
    }

    /// Adds the details to `cookies`.
    pub(super) fn add_to(self, cookies: Cookies) -> Cookies {
        let attributes = self.attributes.into_iter();
        let attributes = attributes.map(|attributes| attributes.map(SealedAttributes::parse));
        let others = self
            .others
            .into_iter()
            .map(|(name, value, attributes)| OtherCookie {
                name: name.to_owned(),
                value: Zeroizing::new(value.to_owned()),
                attributes: attributes.parse(),
            });
        cookies.with_details(attributes.collect(), others.collect())
    }
}

impl<'a> SealedAttributes<'a> {
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
            expires: self
                .expires_micros
                .and_then(|micros| from_micros(micros).ok()),
        }
    }
}

/// JSON members of a plain record with the details of its cookies. A program that does not know
/// them drops them when it changes the record.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct PlainDetails {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    cookie_attributes: BTreeMap<String, PlainAttributes>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    other_cookies: Vec<PlainCookie>,
}

#[derive(Serialize, Deserialize)]
struct PlainAttributes {
    domain: String,
    host_only: bool,
    path: String,
    secure: bool,
    /// RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct PlainCookie {
    name: String,
    #[serde(serialize_with = "as_text", deserialize_with = "wiped")]
    value: Zeroizing<String>,
    #[serde(flatten)]
    attributes: PlainAttributes,
}

fn as_text<S: Serializer>(value: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
}

fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

impl PlainDetails {
    pub(super) fn of(cookies: &Cookies) -> Self {
        let all = cookies.with_attributes();
        let others = cookies.others().iter();
        Self {
            cookie_attributes: all
                .filter_map(|(name, _, attributes)| {
                    Some((name.to_owned(), PlainAttributes::of(attributes?)))
                })
                .collect(),
            other_cookies: others
                .map(|other| PlainCookie {
                    name: other.name.clone(),
                    value: other.value.clone(),
                    attributes: PlainAttributes::of(&other.attributes),
                })
                .collect(),
        }
    }

    /// Adds the details to `cookies`.
    pub(super) fn add_to(mut self, cookies: Cookies) -> Cookies {
        if self.cookie_attributes.is_empty() && self.other_cookies.is_empty() {
            return cookies;
        }
        let names = cookies.iter().map(|(name, _)| name);
        let attributes = names.map(|name| {
            let attributes = self.cookie_attributes.remove(name);
            attributes.map(PlainAttributes::parse)
        });
        let attributes = attributes.collect();
        let others = self.other_cookies.into_iter().map(|other| OtherCookie {
            name: other.name,
            value: other.value,
            attributes: other.attributes.parse(),
        });
        let others = others.collect();
        cookies.with_details(attributes, others)
    }
}

impl PlainAttributes {
    fn of(attributes: &CookieAttributes) -> Self {
        let expires = attributes.expires;
        Self {
            domain: attributes.domain.clone(),
            host_only: attributes.host_only,
            path: attributes.path.clone(),
            secure: attributes.secure,
            expires: expires.and_then(|time| time.format(&Rfc3339).ok()),
        }
    }

    fn parse(self) -> CookieAttributes {
        let expires = self.expires;
        CookieAttributes {
            domain: self.domain,
            host_only: self.host_only,
            path: self.path,
            secure: self.secure,
            expires: expires.and_then(|text| OffsetDateTime::parse(&text, &Rfc3339).ok()),
        }
    }
}
