//! Response members with the attributes of cookies.

use std::collections::BTreeMap;

use serde::Deserialize;
use tee_session_domain::{CookieAttributes, Cookies, OtherCookie};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

use crate::wire;

/// The members `cookie_attributes` and `other_cookies` of a response. `cookie_attributes` contains
/// the attributes of the cookies in the member `cookies`. `other_cookies` contains further cookies,
/// each with the same name as a cookie in `cookies`, but another domain or path.
#[derive(Deserialize)]
pub(crate) struct CookieDetails {
    cookie_attributes: BTreeMap<String, Attributes>,
    other_cookies: Vec<Other>,
}

#[derive(Deserialize)]
struct Attributes {
    domain: String,
    host_only: bool,
    path: String,
    secure: bool,
    expires: Option<String>,
}

#[derive(Deserialize)]
struct Other {
    name: String,
    #[serde(deserialize_with = "wire::wiped")]
    value: Zeroizing<String>,
    #[serde(flatten)]
    attributes: Attributes,
    position: usize,
}

impl CookieDetails {
    /// Adds `cookie_attributes` and `other_cookies` to `cookies`, the cookies of the same response.
    pub(crate) fn add_to(mut self, cookies: Cookies) -> Cookies {
        let names = cookies.iter().map(|(name, _)| name);
        let attributes = names.map(|name| {
            let attributes = self.cookie_attributes.remove(name);
            attributes.map(Attributes::parse)
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

impl Attributes {
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
