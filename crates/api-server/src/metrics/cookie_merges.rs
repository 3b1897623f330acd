//! Counter of merges of cookies that a site has set.

use metrics::{Counter, counter};
use tee_session_domain::{MergedSession, SessionError, UpdateError};

use crate::metrics::cached::Meters;

thread_local! {
    static MERGES: Meters<(Source, &'static str), Counter> = const { Meters::new(counter_of) };
}

/// Sender of the `Set-Cookie` lines of a merge: the metrics label `source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A client that has called the site itself.
    Client,
    /// The answer of the site to a request through the upstream gateway.
    Gateway,
}

/// Outcomes of a merge of cookies: the values of the metrics label `outcome`.
const OUTCOMES: [&str; 6] = [
    "merged",
    "unchanged",
    "refused",
    "contended",
    "gone",
    "failed",
];

/// Counts the outcome of a merge of `Set-Cookie` lines from `source`. A client's request that fails
/// before the session is loaded is not counted.
pub(crate) fn count(source: Source, result: &Result<MergedSession, UpdateError>) {
    let [merged, unchanged, refused, contended, gone, failed] = OUTCOMES;
    let outcome = match result {
        Ok(session) if session.is_changed => merged,
        Ok(_) => unchanged,
        Err(UpdateError::Session(SessionError::Contended)) => contended,
        Err(UpdateError::Session(SessionError::NotFound)) => gone,
        Err(UpdateError::Session(_)) => failed,
        Err(_) => refused,
    };
    let labels = (source, outcome);
    MERGES.with(|merges| merges.with(labels, |counter| counter.increment(1)));
}

/// Registers the counters of all sources and outcomes with the value 0.
pub(crate) fn start_at_zero() {
    for source in [Source::Client, Source::Gateway] {
        for outcome in OUTCOMES {
            let _ = counter_of((source, outcome));
        }
    }
}

fn counter_of((source, outcome): (Source, &'static str)) -> Counter {
    let source = match source {
        Source::Client => "client",
        Source::Gateway => "gateway",
    };
    counter!("tee_session_cookie_merges_total", "source" => source, "outcome" => outcome)
}
