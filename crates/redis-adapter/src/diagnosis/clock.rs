//! The clock of Redis against the one of this machine.

use std::time::Duration;

use tee_session_domain::StoreClock;
use time::OffsetDateTime;

use super::{
    finding::{Check, Finding},
    server::Examination,
};
use crate::connection::{Command, Reply};

/// Clocks that are kept in time differ by less.
const TOLERANCE: Duration = Duration::from_secs(2);

/// Reads the clock of Redis between two looks at this machine's.
pub(super) async fn check(examination: &Examination<'_>) -> Finding {
    let local = StoreClock::from_system();
    let before = local.now();
    let replied = examination.call.send([Command::new("TIME", &[])]).await;
    let answer = replied.and_then(|[reply]| reply.list("TIME"));
    let after = local.now();
    let told = answer.ok().and_then(|answer| time_of(&answer));
    judge(
        examination.server,
        told.map(|told| ahead(told, before, after)),
    )
}

/// How far Redis is ahead of this machine, at least; negative, if it is behind.
fn ahead(told: OffsetDateTime, before: OffsetDateTime, after: OffsetDateTime) -> time::Duration {
    told - told.clamp(before, after)
}

fn judge(server: &str, ahead: Option<time::Duration>) -> Finding {
    let Some(ahead) = ahead else {
        return Finding::unseen(
            Check::Clock,
            server,
            "it does not tell its time to this user",
            "compare by hand: redis-cli TIME, and date +%s on this machine",
        );
    };
    if ahead.unsigned_abs() <= TOLERANCE {
        return Finding::fine(Check::Clock, server, "in step with this machine's");
    }
    let (seconds, side) = (
        ahead.whole_seconds().unsigned_abs(),
        if ahead.is_positive() {
            "ahead of"
        } else {
            "behind"
        },
    );
    Finding::warning(
        Check::Clock,
        server,
        format!("{seconds} s {side} this machine's"),
        "let both machines keep the time (chrony, systemd-timesyncd): sessions end by the clock of \
         Redis, and logs are written by this machine's",
    )
}

/// Seconds and microseconds since the epoch.
fn time_of(answer: &[Reply]) -> Option<OffsetDateTime> {
    let [seconds, micros] = answer else {
        return None;
    };
    let seconds = OffsetDateTime::from_unix_timestamp(seconds.as_number()?).ok()?;
    seconds.checked_add(time::Duration::microseconds(micros.as_number()?))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::diagnosis::Verdict;

    #[rstest]
    #[case::within_the_question(0, "in step with this machine's", Verdict::Fine)]
    #[case::nearly(2, "in step with this machine's", Verdict::Fine)]
    #[case::ahead(37, "37 s ahead of this machine's", Verdict::Warning)]
    #[case::behind(-86_400, "86400 s behind this machine's", Verdict::Warning)]
    fn clocks_apart_are_told(#[case] seconds: i64, #[case] what: &str, #[case] verdict: Verdict) {
        let found = judge("redis", Some(time::Duration::seconds(seconds)));
        assert_eq!((found.what.as_str(), found.verdict), (what, verdict));
    }

    #[test]
    fn what_the_question_took_is_no_difference() {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        assert_eq!(ahead(at(12), at(10), at(15)), time::Duration::ZERO);
        assert_eq!(ahead(at(18), at(10), at(15)), time::Duration::seconds(3));
        assert_eq!(ahead(at(5), at(10), at(15)), time::Duration::seconds(-5));
    }

    #[test]
    fn the_answer_is_seconds_and_microseconds() {
        let texts = ["1768473000", "123456"].map(|text| Reply::Bulk(text.into()));
        let time = time_of(&texts).unwrap();
        assert_eq!(time.unix_timestamp_nanos(), 1_768_473_000_123_456_000);
        assert_eq!(time_of(&texts[..1]), None);
    }
}
