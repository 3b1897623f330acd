//! Permission checks. Each check sends one command for which the Redis user needs a permission. The
//! command changes no data: the service stores nothing under the Redis key of a check, and the form
//! of the command cannot create this key.

use super::{RequiredPermissions, finding::Verdict};
use crate::{
    RedisSettings, StorageFormat,
    record::{KEY_PREFIX, Key},
};

/// ACL pattern for the Redis keys of session records.
pub(super) const SESSION_KEYS: &str = "session:*";

/// ACL pattern for the Redis keys of subject indexes.
const SUBJECT_KEYS: &str = "subject:*";

/// ACL pattern for the Redis keys that map a session id to the key of a plain (unencrypted) record.
const POINTER_KEYS: &str = "session-id:*";

const ORDER: &[u8] = b"subject:{-probe-}:order";
const DETAILS: &[u8] = b"subject:{-probe-}:details";
const POINTER: &[u8] = b"session-id:-probe-";

/// A script that reads and writes nothing, for the permission check for EVAL. A server checks the
/// permission for EVAL before it runs a script, so the check does not need a script of the adapter.
const SCRIPT: &[u8] = b"#!lua\nreturn 0";

/// A feature of the service, with a permission check for each command that the feature requires.
pub(super) struct Feature {
    /// Verdict of the finding if the user lacks a permission that the feature requires.
    pub(super) verdict: Verdict,
    /// Consequence of a missing permission, as a clause for the text of the finding.
    pub(super) loss: &'static str,
    pub(super) checks: Vec<PermissionCheck>,
}

/// One permission check: a command that is ready to be sent.
pub(super) struct PermissionCheck {
    /// Name of the command in ACL rules, such as `get` or `client|tracking`.
    pub(super) rule: &'static str,
    pub(super) command: &'static str,
    pub(super) arguments: Vec<Vec<u8>>,
    /// ACL pattern for the Redis keys that the command accesses; `None` if the command accesses no
    /// key.
    pub(super) keys: Option<&'static str>,
}

impl PermissionCheck {
    fn new(rule: &'static str, command: &'static str, arguments: &[&[u8]]) -> Self {
        Self {
            rule,
            command,
            arguments: arguments.iter().map(|argument| argument.to_vec()).collect(),
            keys: None,
        }
    }

    fn for_keys(self, keys: &'static str) -> Self {
        Self {
            keys: Some(keys),
            ..self
        }
    }
}

/// Returns all features of the service that `settings` and `required` select, with their permission
/// checks. `probe` is a Redis key under which no session is ever stored.
pub(super) fn features(
    settings: &RedisSettings,
    required: RequiredPermissions,
    probe: &Key,
) -> Vec<Feature> {
    let has_plain = settings.accept_plain || settings.storage_format == StorageFormat::Plain;
    let mut features = vec![
        sessions(probe.as_bytes()),
        updates(settings.accept_plain, probe.as_bytes()),
        subjects(required.subjects, has_plain),
        Feature {
            verdict: Verdict::Warning,
            loss: "session times come from the clock of this machine instead of the clock of Redis",
            checks: vec![PermissionCheck::new("time", "TIME", &[])],
        },
    ];
    // Look-ups are not batched in a cluster, nor if a record may be stored in two locations (plain
    // and sealed).
    if !has_plain && !settings.is_cluster_node {
        features.push(batches(probe.as_bytes()));
    }
    if required.changes {
        features.push(invalidation_feed());
    }
    if settings.is_cluster_node {
        features.extend(cluster());
    }
    features
}

fn sessions(probe: &[u8]) -> Feature {
    let checks = [
        PermissionCheck::new("get", "GET", &[probe]),
        PermissionCheck::new("set", "SET", &[probe, b"", b"XX", b"EX", b"1"]),
        PermissionCheck::new("expire", "EXPIRE", &[probe, b"1", b"XX"]),
        PermissionCheck::new("pexpire", "PEXPIRE", &[probe, b"1", b"GT"]),
        PermissionCheck::new("pttl", "PTTL", &[probe]),
        PermissionCheck::new("del", "DEL", &[probe]),
    ];
    Feature {
        verdict: Verdict::Error,
        loss: "sessions cannot be stored",
        checks: checks.map(|check| check.for_keys(SESSION_KEYS)).into(),
    }
}

fn updates(accept_plain: bool, probe: &[u8]) -> Feature {
    let (verdict, loss) = if accept_plain {
        (Verdict::Error, "plain records cannot be sealed")
    } else {
        (Verdict::Warning, "sessions cannot be changed or rotated")
    };
    let eval = PermissionCheck::new("eval", "EVAL", &[SCRIPT, b"1", probe]);
    Feature {
        verdict,
        loss,
        checks: vec![eval.for_keys(SESSION_KEYS)],
    }
}

fn batches(probe: &[u8]) -> Feature {
    let checks = [
        PermissionCheck::new("mget", "MGET", &[probe]),
        PermissionCheck::new("eval", "EVAL", &[SCRIPT, b"1", probe]),
    ];
    Feature {
        verdict: Verdict::Warning,
        loss: "each session is looked up by a separate command, which costs more",
        checks: checks.map(|check| check.for_keys(SESSION_KEYS)).into(),
    }
}

fn subjects(are_required: bool, has_plain: bool) -> Feature {
    let checks = [
        PermissionCheck::new("eval", "EVAL", &[SCRIPT, b"1", ORDER]),
        PermissionCheck::new("zadd", "ZADD", &[ORDER, b"XX", b"0", b"-"]),
        PermissionCheck::new("zrem", "ZREM", &[ORDER, b"-"]),
        PermissionCheck::new("zscore", "ZSCORE", &[ORDER, b"-"]),
        PermissionCheck::new("zrange", "ZRANGE", &[ORDER, b"0", b"0"]),
        // The last field of HSET has no value: Redis checks the permission first, and then rejects
        // the command.
        PermissionCheck::new("hset", "HSET", &[DETAILS, b"-", b"", b"-"]),
        PermissionCheck::new("hget", "HGET", &[DETAILS, b"-"]),
        PermissionCheck::new("hdel", "HDEL", &[DETAILS, b"-"]),
    ];
    let mut checks: Vec<_> = checks.map(|check| check.for_keys(SUBJECT_KEYS)).into();
    checks.push(PermissionCheck::new("time", "TIME", &[]));
    if has_plain {
        let pointers = [
            PermissionCheck::new("get", "GET", &[POINTER]),
            PermissionCheck::new("set", "SET", &[POINTER, b"", b"XX", b"EX", b"1"]),
        ];
        checks.extend(pointers.map(|check| check.for_keys(POINTER_KEYS)));
    }
    Feature {
        verdict: if are_required {
            Verdict::Error
        } else {
            Verdict::Warning
        },
        loss: "sessions with a subject cannot be stored, listed or revoked",
        checks,
    }
}

fn invalidation_feed() -> Feature {
    let canary = format!("{KEY_PREFIX}-canary-probe");
    let canary = PermissionCheck::new(
        "set",
        "SET",
        &[canary.as_bytes(), b"", b"XX", b"GET", b"EX", b"1"],
    );
    Feature {
        verdict: Verdict::Error,
        loss: "the near cache cannot be used, because it gets no invalidations",
        checks: vec![
            PermissionCheck::new("client|tracking", "CLIENT TRACKING", &[b"OFF"]),
            PermissionCheck::new("info", "INFO", &[b"server"]),
            canary.for_keys(SESSION_KEYS),
        ],
    }
}

fn cluster() -> [Feature; 2] {
    [
        Feature {
            verdict: Verdict::Error,
            loss: "the primaries of the cluster cannot be found, and moving hash slots cannot be \
                   followed",
            checks: vec![
                PermissionCheck::new("cluster|slots", "CLUSTER SLOTS", &[]),
                PermissionCheck::new("asking", "ASKING", &[]),
            ],
        },
        Feature {
            verdict: Verdict::Warning,
            loss: "if cluster servers disagree, the wrong topology may be used",
            checks: vec![PermissionCheck::new("cluster|info", "CLUSTER INFO", &[])],
        },
    ]
}
