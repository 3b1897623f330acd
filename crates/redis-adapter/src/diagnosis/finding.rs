//! What was found.

/// What one check found at one server, or the same at several.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How it is.
    pub verdict: Verdict,
    /// Where, each as `host:port` or the path of a socket; none for a cluster as a whole.
    pub servers: Vec<String>,
    /// A sentence on it. It holds the name of a user, but never a password.
    pub what: String,
    /// What to do about it, unless it is fine.
    pub advice: Option<String>,
}

/// What is looked at, in the order in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Check {
    /// Whether the sentinels agree on a primary.
    Sentinel,
    /// Whether the cluster serves all of its slots.
    Cluster,
    /// Whether there is a way to the server, and TLS over it.
    Connection,
    /// Whether the server takes us for the user of the URL.
    Login,
    /// Whether the server is new enough.
    Version,
    /// Whether it is a primary, of the kind that the URL says.
    Role,
    /// Whether the user may do what is needed.
    Permissions,
    /// Whether the server takes reads and writes now.
    Writes,
    /// Whether it would throw sessions away when its memory is full.
    Eviction,
    /// Whether sessions outlive its restart.
    Persistence,
    /// Whether its clock and the one of this machine agree.
    Clock,
}

impl Check {
    /// The name of the check, in one word.
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

/// How it is; the greater is the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Not to be seen with this user.
    Unseen,
    /// It works, but not as well as it should, or not for all.
    Warning,
    /// Sessions cannot be kept there, or would be lost.
    Error,
}

impl Verdict {
    /// Its name, in one word.
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
        Self::fine(check, server, what).judged(Verdict::Unseen, advice)
    }

    pub(super) fn warning(
        check: Check,
        server: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::fine(check, server, what).judged(Verdict::Warning, advice)
    }

    pub(super) fn error(
        check: Check,
        server: &str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::fine(check, server, what).judged(Verdict::Error, advice)
    }

    /// Of all servers together.
    pub(super) fn of_all(self) -> Self {
        Self {
            servers: Vec::new(),
            ..self
        }
    }

    pub(super) fn judged(self, verdict: Verdict, advice: impl Into<String>) -> Self {
        Self {
            verdict,
            advice: Some(advice.into()),
            ..self
        }
    }
}

/// In the order of the checks; what several servers have in common stands there once.
pub(super) fn gathered(found: Vec<Finding>) -> Vec<Finding> {
    let mut gathered: Vec<Finding> = Vec::new();
    for finding in found {
        let same = gathered.iter_mut().find(|other| {
            let (one, other) = (&finding, &**other);
            (one.check, one.verdict, &one.what, &one.advice)
                == (other.check, other.verdict, &other.what, &other.advice)
        });
        match same {
            Some(same) => same.servers.extend(finding.servers),
            None => gathered.push(finding),
        }
    }
    gathered.sort_by_key(|finding| finding.check);
    gathered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_servers_have_in_common_is_told_once_and_in_order() {
        let clock = Finding::fine(Check::Clock, "a:1", "in step");
        let role = |server| Finding::fine(Check::Role, server, "a primary");
        let replica = Finding::error(Check::Role, "c:3", "a replica", "name the primary");
        let gathered = gathered(vec![
            clock.clone(),
            role("a:1"),
            role("b:2"),
            replica.clone(),
        ]);
        let both = Finding {
            servers: vec!["a:1".to_owned(), "b:2".to_owned()],
            ..role("a:1")
        };
        assert_eq!(gathered, [both, replica, clock]);
    }
}
