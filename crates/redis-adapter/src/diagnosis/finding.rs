//! Findings of the Redis diagnosis and their verdicts.

/// A finding is the result of one check of the diagnosis. If a check has the same result at several
/// servers, one finding covers all of these servers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Check of the diagnosis that led to this finding.
    pub check: Check,
    /// Severity of the result of the check.
    pub verdict: Verdict,
    /// Servers with this result, each as `host:port` or as the path of a Unix socket. The list is
    /// empty if the result is about all servers together.
    pub servers: Vec<String>,
    /// Description of the result. The text may contain the name of a Redis user, but never a
    /// password.
    pub what: String,
    /// Advice on how to fix the problem; `None` if the verdict is [`Verdict::Fine`].
    pub advice: Option<String>,
}

/// A check of the diagnosis. Findings are listed in the order of these variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Check {
    /// Checks that the sentinels agree on a primary.
    Sentinel,
    /// Checks that the cluster serves all of its hash slots.
    Cluster,
    /// Checks that the server can be reached, over TLS if the URL requires TLS.
    Connection,
    /// Checks that the server accepts the user and password in the Redis URL.
    Login,
    /// Checks that the version of the server is new enough.
    Version,
    /// Checks that the server is a primary, and that it belongs to the kind of deployment that the
    /// URL names.
    Role,
    /// Checks that the Redis user has the required permissions.
    Permissions,
    /// Checks that the server accepts reads and writes now.
    Writes,
    /// Checks that the server does not evict sessions when its memory is full.
    Eviction,
    /// Checks that sessions survive a restart of the server.
    Persistence,
    /// Checks that the clock of the server and the clock of this machine are in sync.
    Clock,
}

impl Check {
    /// Returns the name of the check in one word, such as `sentinel` or `clock`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
            Self::Connection => "connection",
            Self::Login => "login",
            Self::Version => "version",
            Self::Role => "role",
            Self::Permissions => "permissions",
            Self::Writes => "writes",
            Self::Eviction => "eviction",
            Self::Persistence => "persistence",
            Self::Clock => "clock",
        }
    }
}

/// Possible verdicts of a check, in order of increasing severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// The check found no problem.
    Fine,
    /// The check could not be made, because the Redis user lacks the permission to read the
    /// required data.
    Unseen,
    /// The service works with limitations: not as well as it should, or not for all sessions.
    Warning,
    /// Sessions cannot be stored, or stored sessions would be lost.
    Error,
}

impl Verdict {
    /// Returns the name of the verdict in one word: `ok`, `unseen`, `warning` or `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Unseen => "unseen",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Finding {
    pub(super) fn fine(check: Check, server: &str, what: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Fine,
            servers: vec![server.to_owned()],
            what: what.into(),
            advice: None,
        }
    }

    pub(super) fn unseen(
        check: Check,
        server: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::fine(check, server, what).with_verdict(Verdict::Unseen, advice)
    }

    pub(super) fn warning(
        check: Check,
        server: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::fine(check, server, what).with_verdict(Verdict::Warning, advice)
    }

    pub(super) fn error(
        check: Check,
        server: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::fine(check, server, what).with_verdict(Verdict::Error, advice)
    }

    /// Returns this finding with an empty list of servers, which means that the finding is about
    /// all servers together.
    pub(super) fn of_all(self) -> Self {
        Self {
            servers: Vec::new(),
            ..self
        }
    }

    /// Returns this finding with another verdict, and with advice.
    pub(super) fn with_verdict(self, verdict: Verdict, advice: impl Into<String>) -> Self {
        Self {
            verdict,
            advice: Some(advice.into()),
            ..self
        }
    }
}

/// Merges findings that differ only in the server into one finding. Then sorts all findings by
/// check.
pub(super) fn merge(found: Vec<Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    for finding in found {
        let same = merged.iter_mut().find(|other| {
            let (one, other) = (&finding, &**other);
            (one.check, one.verdict, &one.what, &one.advice)
                == (other.check, other.verdict, &other.what, &other.advice)
        });
        match same {
            Some(same) => same.servers.extend(finding.servers),
            None => merged.push(finding),
        }
    }
    merged.sort_by_key(|finding| finding.check);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_findings_about_two_servers_are_merged_and_sorted_by_check() {
        let clock = Finding::fine(Check::Clock, "a:1", "in sync");
        let role = |server| Finding::fine(Check::Role, server, "a primary");
        let replica = Finding::error(Check::Role, "c:3", "a replica", "name the primary");
        let merged = merge(vec![
            clock.clone(),
            role("a:1"),
            role("b:2"),
            replica.clone(),
        ]);
        let both = Finding {
            servers: vec!["a:1".to_owned(), "b:2".to_owned()],
            ..role("a:1")
        };
        assert_eq!(merged, [both, replica, clock]);
    }
}
