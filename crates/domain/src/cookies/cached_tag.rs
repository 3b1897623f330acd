//! Entity tag of a session that is cached with the cookies of the session.

use time::OffsetDateTime;

use crate::{BaseUrl, EntityTag, SessionId};

/// An entity tag that is cached with the cookies of a session. The other fields are the values,
/// besides the cookies, from which the tag was computed.
pub(crate) struct CachedTag {
    pub(crate) tag: EntityTag,
    /// Id of the session with whose token the entity tag was computed.
    pub(crate) id: SessionId,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) base_url: BaseUrl,
}
