//! Builder for a change of a session.

use std::fmt;

use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use tee_session_domain::BaseUrl;
use zeroize::Zeroizing;

use crate::{ETag, wire};

/// Changes to a session, for [`SessionClient::update`](crate::SessionClient::update).
///
/// The changes are sent as a JSON merge patch (RFC 7396). Cookies and members of the session that
/// the patch does not contain stay unchanged.
///
/// ```
/// use tee_session_client::SessionPatch;
///
/// let patch = SessionPatch::new()
///     .set_cookie("SESSIONID", "d4e5f6")
///     .remove_cookie("remember_me");
/// assert_eq!(format!("{patch:?}"), "SessionPatch(2 cookies redacted)");
/// ```
#[derive(Clone, Default)]
pub struct SessionPatch {
    pub(crate) body: PatchBody,
    pub(crate) if_match: Option<ETag>,
}

#[derive(Clone, Default, Serialize)]
pub(crate) struct PatchBody {
    #[serde(
        skip_serializing_if = "IndexMap::is_empty",
        serialize_with = "cookies_as_map"
    )]
    cookies: IndexMap<String, Option<Zeroizing<String>>>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "wire::some_base_url_as_text"
    )]
    base_url: Option<BaseUrl>,
}

impl SessionPatch {
    /// Creates a patch without changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the cookie `name`. If the session already has a cookie with this name, replaces the
    /// value of that cookie.
    #[must_use]
    pub fn set_cookie(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = Zeroizing::new(value.into());
        self.body.cookies.insert(name.into(), Some(value));
        self
    }

    /// Removes the cookie `name`. If the session has no cookie with this name, the patch does not
    /// fail.
    #[must_use]
    pub fn remove_cookie(mut self, name: impl Into<String>) -> Self {
        self.body.cookies.insert(name.into(), None);
        self
    }

    /// Sets the base URL of the upstream site. The cookies of the session belong to this site.
    #[must_use]
    pub fn base_url(mut self, base_url: &BaseUrl) -> Self {
        self.body.base_url = Some(base_url.clone());
        self
    }

    /// Makes the update conditional: the service applies the patch only if the session has not
    /// changed since the service returned `etag`.
    #[must_use]
    pub fn if_match(mut self, etag: &ETag) -> Self {
        self.if_match = Some(etag.clone());
        self
    }
}

impl fmt::Debug for SessionPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SessionPatch({} cookies redacted)",
            self.body.cookies.len()
        )
    }
}

fn cookies_as_map<S: Serializer>(
    cookies: &IndexMap<String, Option<Zeroizing<String>>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let cookies = cookies.iter();
    serializer.collect_map(cookies.map(|(name, value)| (name, value.as_deref())))
}
