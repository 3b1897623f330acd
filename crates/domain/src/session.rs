//! What a bearer token stands for.

use time::OffsetDateTime;

use crate::{BaseUrl, Cookies};

/// An upstream login that the broker keeps. It carries no token: only its holder knows that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The upstream site's cookies.
    pub cookies: Cookies,
    /// The upstream site.
    pub base_url: BaseUrl,
    /// When it was created, on the store's clock.
    pub created_at: OffsetDateTime,
}
