//! Response members with the attributes of cookies.

use std::collections::BTreeMap;

use serde::Serialize;
use tee_session_domain::{CookieAttributes, Cookies};
use utoipa::ToSchema;

use super::timestamp::Timestamp;

/// Scope and lifetime of a cookie.
#[derive(Serialize, ToSchema)]
#[schema(as = CookieAttributes)]
pub(crate) struct AttributesBody<'a> {
    /// Host to which the cookie is sent.
    domain: &'a str,
    /// If false, the cookie is also sent to subdomains.
    host_only: bool,
    path: &'a str,
    /// If true, the cookie is sent over HTTPS only.
    secure: bool,
    /// Time at which the cookie expires. Absent for a cookie that browsers keep until they are
    /// closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, schema_with = crate::openapi::schemas::cookie_expires)]
    expires: Option<Timestamp>,
}

impl<'a> From<&'a CookieAttributes> for AttributesBody<'a> {
    fn from(attributes: &'a CookieAttributes) -> Self {
        Self {
            domain: &attributes.domain,
            host_only: attributes.host_only,
            path: &attributes.path,
            secure: attributes.secure,
            expires: attributes.expires.map(Timestamp),
        }
    }
}

/// A cookie that has the same name as a cookie in the member `cookies`, but another domain or path.
#[derive(Serialize, ToSchema)]
#[schema(as = OtherCookie)]
pub(crate) struct OtherCookieBody<'a> {
    name: &'a str,
    value: &'a str,
    #[serde(flatten)]
    attributes: AttributesBody<'a>,
    /// Position in the order in which all cookies of the session came, from 0. The cookies in
    /// `cookies` have the positions that are left, in their order. Browsers send cookies with paths
    /// of the same length in this order.
    position: usize,
}

/// Response members with the attributes of cookies.
pub(super) struct JarMembers<'a> {
    /// Attributes of the cookies that the site has set, by cookie name. Cookies that were set at
    /// login or by a patch have no attributes.
    pub(super) cookie_attributes: BTreeMap<&'a str, AttributesBody<'a>>,
    /// Cookies that have the same name as a cookie in the member `cookies`, but another domain or
    /// path.
    pub(super) other_cookies: Vec<OtherCookieBody<'a>>,
}

impl<'a> JarMembers<'a> {
    pub(super) fn of(cookies: &'a Cookies) -> Self {
        let with_attributes = cookies.with_attributes();
        let others = cookies.others().iter();
        Self {
            cookie_attributes: with_attributes
                .filter_map(|(name, _, attributes)| Some((name, attributes?.into())))
                .collect(),
            other_cookies: others
                .map(|other| OtherCookieBody {
                    name: &other.name,
                    value: &other.value,
                    attributes: (&other.attributes).into(),
                    position: other.position,
                })
                .collect(),
        }
    }
}
