//! Cache for the entity tag of a session. The tag is stored with the cookies of the session, so
//! that it is computed only once.

use time::OffsetDateTime;

use crate::{BaseUrl, EntityTag, SessionId};

/// An entity tag that is cached with the cookies of a session. The other fields contain the data of
/// the session for which the tag was computed. The tag is invalid if the session has other data.
pub(crate) struct CachedTag {
    pub(crate) tag: EntityTag,
    /// Id of the session. It stands for the token, from which the key of the tag was derived.
    pub(crate) id: SessionId,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) base_url: BaseUrl,
}
