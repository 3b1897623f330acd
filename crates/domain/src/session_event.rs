//! Events in the lifecycle of a session, such as its creation and its end.

/// A session lifecycle event. The session manager reports each event to its observer, for example
/// to count the event in a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionEvent {
    /// A new session was created and stored.
    Created,
    /// A session was moved to a new token (rotation).
    Rotated,
    /// Sessions ended for the given reason. A revocation can end several sessions at once. If the
    /// idle timeout of a session passes, no event is reported, because only the store notices the
    /// end of the session.
    Ended(EndReason),
}

/// Reason for which a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// A client that holds the token deleted the session (logout).
    Deleted,
    /// A service client with the scope `admin` revoked the session.
    Revoked,
    /// The subject had reached its session limit. This session was the subject's oldest session,
    /// and was removed to make room for a new session.
    Evicted,
    /// An access found that the absolute lifetime of the session is over. If the record expires in
    /// the store before any access, no event is reported.
    Expired,
    /// The session was just created or rotated, and its new token could not be delivered to the
    /// client.
    Undelivered,
}

impl EndReason {
    /// Returns the value of the metrics label `reason` for this reason.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Revoked => "revoked",
            Self::Evicted => "evicted",
            Self::Expired => "expired",
            Self::Undelivered => "undelivered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_label_of_an_end_reason_is_its_name_in_lower_case() {
        for reason in [
            EndReason::Deleted,
            EndReason::Revoked,
            EndReason::Evicted,
            EndReason::Expired,
            EndReason::Undelivered,
        ] {
            assert_eq!(reason.as_str(), format!("{reason:?}").to_lowercase());
        }
    }
}
