//! The commands that are needed, each about a key where nothing stands, and in a form that makes none.

use super::{Needs, finding::Verdict};
use crate::{
    RedisSettings, StorageFormat,
    record::{KEY_PREFIX, Key},
};

/// The keys of sessions, as ACLs name them.
pub(super) const OF_SESSIONS: &str = "session:*";

/// Where subjects, and pointers to plain records, have keys of their own.
const OF_SUBJECTS: &str = "subject:*";
const OF_POINTERS: &str = "session-id:*";

const ORDER: &[u8] = b"subject:{-probe-}:order";
const DETAILS: &[u8] = b"subject:{-probe-}:details";
const POINTER: &[u8] = b"session-id:-probe-";

/// It reads and writes nothing; what it is stands for all of ours, since a server looks at permissions
/// before it looks at what a script does.
const SCRIPT: &[u8] = b"#!lua\nreturn 0";

/// What commands are needed for.
pub(super) struct Purpose {
    /// When one of them is missing.
    pub(super) verdict: Verdict,
    /// What then does not work.
    pub(super) loss: &'static str,
    pub(super) trials: Vec<Trial>,
}

/// One command, ready to be sent.
pub(super) struct Trial {
    /// As rules of ACLs name it: `get`, `client|tracking`.
    pub(super) rule: &'static str,
    pub(super) command: &'static str,
    pub(super) arguments: Vec<Vec<u8>>,
    /// Which keys it is for.
    pub(super) keys: Option<&'static str>,
}

impl Trial {
    fn new(rule: &'static str, command: &'static str, arguments: &[&[u8]]) -> Self {
        Self {
            rule,
            command,
            arguments: arguments.iter().map(|argument| argument.to_vec()).collect(),
            keys: None,
        }
    }

    fn on(self, keys: &'static str) -> Self {
        Self {
            keys: Some(keys),
            ..self
        }
    }
}

/// All that is needed with these settings. `probe` is a key where no session stands.
pub(super) fn purposes(settings: &RedisSettings, needs: Needs, probe: &Key) -> Vec<Purpose> {
    let has_plain = settings.accept_plain || settings.storage_format == StorageFormat::Plain;
    let mut purposes = vec![
        sessions(probe.as_bytes()),
        changes(settings.accept_plain, probe.as_bytes()),
        subjects(needs.subjects, has_plain),
        Purpose {
            verdict: Verdict::Warning,
            loss: "sessions end by the clock of this machine, and not by the one of Redis",
            trials: vec![Trial::new("time", "TIME", &[])],
        },
    ];
    // Look-ups of two places, and those in a cluster, travel alone.
    if !has_plain && !settings.is_cluster_node {
        purposes.push(batches(probe.as_bytes()));
    }
    if needs.changes {
        purposes.push(telling());
    }
    if settings.is_cluster_node {
        purposes.extend(cluster());
    }
    purposes
}

fn sessions(probe: &[u8]) -> Purpose {
    let trials = [
        Trial::new("get", "GET", &[probe]),
        Trial::new("set", "SET", &[probe, b"", b"XX", b"EX", b"1"]),
        Trial::new("expire", "EXPIRE", &[probe, b"1", b"XX"]),
        Trial::new("pexpire", "PEXPIRE", &[probe, b"1", b"GT"]),
        Trial::new("pttl", "PTTL", &[probe]),
        Trial::new("del", "DEL", &[probe]),
    ];
    Purpose {
        verdict: Verdict::Error,
        loss: "no session can be kept",
        trials: trials.map(|trial| trial.on(OF_SESSIONS)).into(),
    }
}

fn changes(accept_plain: bool, probe: &[u8]) -> Purpose {
    let (verdict, loss) = if accept_plain {
        (Verdict::Error, "plain records cannot be sealed")
    } else {
        (
            Verdict::Warning,
            "sessions can neither be changed nor rotated",
        )
    };
    Purpose {
        verdict,
        loss,
        trials: vec![Trial::new("eval", "EVAL", &[SCRIPT, b"1", probe]).on(OF_SESSIONS)],
    }
}

fn batches(probe: &[u8]) -> Purpose {
    let trials = [
        Trial::new("mget", "MGET", &[probe]),
        Trial::new("eval", "EVAL", &[SCRIPT, b"1", probe]),
    ];
    Purpose {
        verdict: Verdict::Warning,
        loss: "each session is read by a command of its own, which costs more",
        trials: trials.map(|trial| trial.on(OF_SESSIONS)).into(),
    }
}

fn subjects(are_needed: bool, has_plain: bool) -> Purpose {
    let trials = [
        Trial::new("eval", "EVAL", &[SCRIPT, b"1", ORDER]),
        Trial::new("zadd", "ZADD", &[ORDER, b"XX", b"0", b"-"]),
        Trial::new("zrem", "ZREM", &[ORDER, b"-"]),
        Trial::new("zscore", "ZSCORE", &[ORDER, b"-"]),
        Trial::new("zrange", "ZRANGE", &[ORDER, b"0", b"0"]),
        // A field without a value: Redis looks at the permission first, and then refuses it.
        Trial::new("hset", "HSET", &[DETAILS, b"-", b"", b"-"]),
        Trial::new("hget", "HGET", &[DETAILS, b"-"]),
        Trial::new("hdel", "HDEL", &[DETAILS, b"-"]),
    ];
    let mut trials: Vec<_> = trials.map(|trial| trial.on(OF_SUBJECTS)).into();
    if has_plain {
        let pointers = [
            Trial::new("get", "GET", &[POINTER]),
            Trial::new("set", "SET", &[POINTER, b"", b"XX", b"EX", b"1"]),
        ];
        trials.extend(pointers.map(|trial| trial.on(OF_POINTERS)));
    }
    Purpose {
        verdict: if are_needed {
            Verdict::Error
        } else {
            Verdict::Warning
        },
        loss: "sessions of a subject can be neither kept, listed nor ended",
        trials,
    }
}

fn telling() -> Purpose {
    let canary = format!("{KEY_PREFIX}-canary-probe");
    let canary = Trial::new(
        "set",
        "SET",
        &[canary.as_bytes(), b"", b"XX", b"GET", b"EX", b"1"],
    );
    Purpose {
        verdict: Verdict::Error,
        loss: "Redis tells of no changes, and there can be no near cache",
        trials: vec![
            Trial::new("client|tracking", "CLIENT TRACKING", &[b"OFF"]),
            Trial::new("info", "INFO", &[b"server"]),
            canary.on(OF_SESSIONS),
        ],
    }
}

fn cluster() -> [Purpose; 2] {
    [
        Purpose {
            verdict: Verdict::Error,
            loss: "the parts of the cluster cannot be found, nor followed when they move",
            trials: vec![
                Trial::new("cluster|slots", "CLUSTER SLOTS", &[]),
                Trial::new("asking", "ASKING", &[]),
            ],
        },
        Purpose {
            verdict: Verdict::Warning,
            loss: "of servers that disagree, the wrong one may be believed",
            trials: vec![Trial::new("cluster|info", "CLUSTER INFO", &[])],
        },
    ]
}
