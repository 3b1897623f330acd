//! Cache for the entity tag of a session. The tag is stored with the cookies of the session, so
//! that it is computed only once.

use time::OffsetDateTime;

use crate::{BaseUrl, EntityTag, SessionId};

/// An entity tag that is cached with the cookies of a session. The tag was computed from the
/// cookies, and from the values in the other fields of this struct.
pub(crate) struct CachedTag {
    pub(crate) tag: EntityTag,
    /// Id of the session. The entity tag was computed with the token of this session.
    pub(crate) id: SessionId,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) base_url: BaseUrl,
}
