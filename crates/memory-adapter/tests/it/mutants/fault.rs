//! Faults of a session repository, as an adapter could have them.

/// A fault of an adapter. An adapter with the fault breaks one rule of the contract, and works
/// correctly otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    CallNeverReturns,
    ClockIsOneHourAhead,
    ClockRunsTwiceAsFast,
    ContainsIgnoresLastRevocation,
    ContainsIgnoresPosition,
    ContainsIsAlwaysTrue,
    CookiesInOtherOrder,
    CorruptRecordIsRemoved,
    CorruptReportedAsMissing,
    ErrorShowsCookie,
    ErrorShowsToken,
    InsertOverwrites,
    LabelIsLost,
    ListEndsAfterOnePage,
    ListIgnoresCursor,
    ListIsNewestFirst,
    ListKeepsExpiredSessions,
    LoadRenewsTtl,
    MoveIgnoresExpiry,
    MoveIgnoresRevision,
    MoveKeepsOldRecord,
    OutageReportedAsMissing,
    RemoveByIdRemovesNothing,
    RemoveOlderRemovesNewer,
    RemoveReportsExpiredSession,
    SuccessorGetsNewPosition,
    SwapIgnoresRevision,
    SwapKeepsOldTtl,
    TimesInWholeSeconds,
    TouchChangesRevision,
    TouchRestoresDeletedSession,
}
