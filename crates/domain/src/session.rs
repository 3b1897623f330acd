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
    /// When it ends at the latest, on the store's clock, as fixed at its creation. `None`: there
    /// was no such limit, or the record does not hold it; then the limit of today counts from
    /// `created_at`.
    pub absolute_end: Option<OffsetDateTime>,
}
