//! Comparison of the clock of Redis with the clock of this machine.

use std::time::Duration;

use tee_session_domain::StoreClock;
use time::OffsetDateTime;

use super::{
    examination::Examination,
    finding::{Check, Finding},
};
use crate::connection::{Command, Reply};

/// Maximum difference between the clock of Redis and the clock of this machine that counts as in
/// sync.
const TOLERANCE: Duration = Duration::from_secs(2);

/// Reads the clock of Redis (`TIME`) between two reads of the clock of this machine, and returns
/// the finding about the difference.
pub(super) async fn check(examination: &Examination<'_>) -> Finding {
    let local = StoreClock::from_system();
    let before = local.now();
    let replied = examination.call.send([Command::new("TIME", &[])]).await;
    let reply = replied.and_then(|[reply]| reply.list("TIME"));
    let after = local.now();
    let reported = reply.ok().and_then(|reply| time_of(&reply));
    judge(
        examination.server,
        reported.map(|reported| ahead(reported, before, after)),
    )
}

/// Returns the time by which the clock of Redis is ahead of the clock of this machine. If the clock
/// of Redis is behind, the returned time is negative.
///
/// `reported` is the time of Redis. `before` and `after` are the times of this machine before and
/// after the request. If `reported` is between `before` and `after`, the returned time is zero.
fn ahead(
    reported: OffsetDateTime,
    before: OffsetDateTime,
    after: OffsetDateTime,
) -> time::Duration {
    reported - reported.clamp(before, after)
}

fn judge(server: &str, ahead: Option<time::Duration>) -> Finding {
    let Some(ahead) = ahead else {
        return Finding::unseen(
            Check::Clock,
            server,
            "this user may not read the time of the server",
            "compare by hand: redis-cli TIME, and date +%s on this machine",
        );
    };
    if ahead.unsigned_abs() <= TOLERANCE {
        return Finding::fine(Check::Clock, server, "in sync with this machine");
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
        format!("{seconds} s {side} this machine"),
        "synchronize the clocks of both machines (chrony, systemd-timesyncd): sessions end by the \
         clock of Redis, and log times come from the clock of this machine",
    )
}

/// Parses a reply to TIME: seconds and microseconds since the epoch. Returns `None` if the reply
/// has another form.
fn time_of(reply: &[Reply]) -> Option<OffsetDateTime> {
    let [seconds, micros] = reply else {
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
    #[case::in_sync(0, "in sync with this machine", Verdict::Fine)]
    #[case::within_tolerance(2, "in sync with this machine", Verdict::Fine)]
    #[case::ahead(37, "37 s ahead of this machine", Verdict::Warning)]
    #[case::behind(-86_400, "86400 s behind this machine", Verdict::Warning)]
    fn clock_difference_of_more_than_2_s_is_reported_as_a_warning(
        #[case] seconds: i64,
        #[case] what: &str,
        #[case] verdict: Verdict,
    ) {
        let found = judge("redis", Some(time::Duration::seconds(seconds)));
        assert_eq!((found.what.as_str(), found.verdict), (what, verdict));
    }

    #[test]
    fn duration_of_the_request_is_not_counted_as_clock_difference() {
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        assert_eq!(ahead(at(12), at(10), at(15)), time::Duration::ZERO);
        assert_eq!(ahead(at(18), at(10), at(15)), time::Duration::seconds(3));
        assert_eq!(ahead(at(5), at(10), at(15)), time::Duration::seconds(-5));
    }

    #[test]
    fn reply_to_the_time_command_is_parsed_as_seconds_and_microseconds() {
        let texts = ["1768473000", "123456"].map(|text| Reply::Bulk(text.into()));
        let time = time_of(&texts).unwrap();
        assert_eq!(time.unix_timestamp_nanos(), 1_768_473_000_123_456_000);
        assert_eq!(time_of(&texts[..1]), None);
    }
}
