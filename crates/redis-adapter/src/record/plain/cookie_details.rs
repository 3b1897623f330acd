//! JSON members of a plain record for the attributes of cookies, and for cookies that have the same
//! name as a cookie in the member `cookies`.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tee_session_domain::{CookieAttributes, Cookies, OtherCookie};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

/// Details of the cookies of a plain record, as JSON members: the attributes of the cookies, and
/// the cookies outside the member `cookies`.
///
/// A program that does not know these members may change the cookies in the member `cookies` and
/// keep these members unchanged. `cookies_digest` then differs from the digest of the changed
/// cookies, and the details are ignored.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct PlainDetails {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    cookie_attributes: BTreeMap<String, PlainAttributes>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    other_cookies: Vec<PlainCookie>,
    /// Digest of the cookies in the member `cookies` at the time when the details were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cookies_digest: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct PlainAttributes {
    domain: String,
    host_only: bool,
    path: String,
    secure: bool,
    /// Expiry time of the cookie in the format of RFC 3339, in UTC.
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
    position: usize,
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
                    position: other.position,
                })
                .collect(),
            cookies_digest: cookies.has_details().then(|| digest_of(cookies)),
        }
    }

    /// Adds these details to `cookies`, the cookies in the JSON member `cookies`. If
    /// `cookies_digest` is missing or differs from the digest of `cookies`, returns `cookies`
    /// unchanged.
    pub(super) fn add_to(mut self, cookies: Cookies) -> Cookies {
        let Some(digest) = self.cookies_digest else {
            return cookies;
        };
        if digest != digest_of(&cookies) {
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
            position: other.position,
        });
        let others = others.collect();
        cookies.with_details(attributes, others)
    }
}

/// Returns the first 64 bits of a SHA-256 digest of the names and values of `cookies`, in
/// hexadecimal.
fn digest_of(cookies: &Cookies) -> String {
    let mut context = Context::new(&SHA256);
    for (name, value) in cookies.iter() {
        context.update(name.as_bytes());
        // The bytes 0 and 1 separate names and values, because neither a name nor a value can
        // contain them.
        context.update(if value.is_some() { b"\0" } else { b"\x01" });
        context.update(value.unwrap_or_default().as_bytes());
        context.update(b"\0");
    }
    let digest = context.finish();
    hex::encode(digest.as_ref().get(..8).unwrap_or_default())
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
