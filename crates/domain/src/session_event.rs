//! What becomes of sessions, told to who counts it.

/// Something that befell sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionEvent {
    /// They were created.
    Created,
    /// They got a new token.
    Rotated,
    /// They ended before they idled out. Of those that do, only the store knows.
    Ended(EndReason),
}

/// Why sessions ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Somebody who had the token deleted them.
    Deleted,
    /// Somebody who may manage the sessions of others revoked them.
    Revoked,
    /// Their subject had as many as it may have, and a new one came.
    Evicted,
    /// An access found them past their absolute lifetime. The store, too, ends most of those by
    /// itself.
    Expired,
}

impl EndReason {
    /// Its name where it is counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Revoked => "revoked",
            Self::Evicted => "evicted",
            Self::Expired => "expired",
        }
    }
}
