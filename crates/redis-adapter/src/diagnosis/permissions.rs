//! What the user may not do, found out by trying.

use futures_util::future::join_all;

use super::{
    Needs,
    finding::{Check, Finding, Verdict},
    server::Examination,
    trials::{OF_SESSIONS, Purpose, Trial, purposes},
    tried::Tried,
};
use crate::{RedisFault, connection::Command, record::Key};

/// Tries all that is needed, and tells of it as well whether the server takes reads and writes now.
pub(super) async fn check(
    examination: &Examination<'_>,
    needs: Needs,
    probe: &Key,
) -> Vec<Finding> {
    let purposes = purposes(examination.settings, needs, probe);
    let trials = purposes.iter().flat_map(|purpose| &purpose.trials);
    // All are on their way before the first is answered.
    let asked: Vec<_> = trials.map(|trial| send(examination, trial)).collect();
    let mut outcomes = join_all(asked).await.into_iter();
    let tried: Vec<_> = purposes
        .iter()
        .map(|purpose| Outcome {
            purpose,
            tried: outcomes.by_ref().take(purpose.trials.len()).collect(),
        })
        .collect();
    let (server, user) = (examination.server, examination.settings.user());
    let mut found: Vec<_> = tried
        .iter()
        .filter_map(|outcome| outcome.missing(&tried, server, user))
        .collect();
    found.extend(tried.iter().filter_map(|outcome| outcome.unknown(server)));
    let in_the_way = tried.iter().flat_map(|outcome| &outcome.tried);
    let in_the_way = in_the_way.filter_map(|tried| in_the_way_of(server, tried));
    match in_the_way.reduce(|first, _| first) {
        Some(finding) => found.push(finding),
        None => {
            if found.is_empty() {
                let what = format!("{user} may do all that is needed");
                found.push(Finding::fine(Check::Permissions, server, what));
            }
            if is_open(Some(OF_SESSIONS), &tried) {
                let what = "it takes reads and writes";
                found.push(Finding::fine(Check::Writes, server, what));
            }
        }
    }
    found
}

async fn send(examination: &Examination<'_>, trial: &Trial) -> Tried {
    let arguments: Vec<&[u8]> = trial.arguments.iter().map(Vec::as_slice).collect();
    let command = Command::new(trial.command, &arguments);
    let replied = examination.call.send([command]).await;
    Tried::of(replied.map(|[reply]| reply))
}

/// What came of the commands of a purpose.
struct Outcome<'a> {
    purpose: &'a Purpose,
    tried: Vec<Tried>,
}

impl Outcome<'_> {
    fn trials(&self) -> impl Iterator<Item = (&Trial, &Tried)> {
        self.purpose.trials.iter().zip(&self.tried)
    }

    /// What the user lacks for it, and the line that mends it.
    fn missing(&self, all: &[Self], server: &str, user: &str) -> Option<Finding> {
        let (mut commands, mut rules) = (Vec::new(), Vec::new());
        let mut keys: Vec<&str> = Vec::new();
        for (trial, tried) in self.trials() {
            if *tried == Tried::NoCommand {
                commands.push(trial.command.to_owned());
                rules.push(format!("+{}", trial.rule));
            }
            // Of a command that is refused, nobody knows yet whether its key would be.
            let is_shut = match tried {
                Tried::NoKey => true,
                Tried::NoCommand => !is_open(trial.keys, all),
                _ => false,
            };
            if let Some(pattern) = trial
                .keys
                .filter(|keys_of| is_shut && !keys.contains(keys_of))
            {
                keys.push(pattern);
            }
        }
        commands.extend(keys.iter().map(|pattern| format!("touch keys {pattern}")));
        rules.extend(keys.iter().map(|pattern| format!("~{pattern}")));
        let loss = self.purpose.loss;
        let what = format!("{loss}: {user} may not {}", commands.join(", "));
        let advice = format!("in Redis: ACL SETUSER {user} {}", rules.join(" "));
        let finding = Finding::fine(Check::Permissions, server, what);
        (!rules.is_empty()).then(|| finding.judged(self.purpose.verdict, advice))
    }

    /// The commands for it that the server does not have.
    fn unknown(&self, server: &str) -> Option<Finding> {
        let unknown = self.trials().filter(|(_, tried)| **tried == Tried::Unknown);
        let commands: Vec<_> = unknown.map(|(trial, _)| trial.command).collect();
        let loss = self.purpose.loss;
        let what = format!("{loss}: Redis knows no {}", commands.join(", "));
        let finding = Finding::fine(Check::Permissions, server, what);
        (!commands.is_empty()).then(|| {
            let advice = "give the command its name back (rename-command in the configuration of \
                 Redis), or take a Redis that has it";
            finding.judged(self.purpose.verdict, advice)
        })
    }
}

/// Whether some command got at these keys.
fn is_open(keys: Option<&str>, all: &[Outcome<'_>]) -> bool {
    let mut trials = all.iter().flat_map(Outcome::trials);
    trials.any(|(trial, tried)| trial.keys == keys && *tried == Tried::Allowed)
}

/// What keeps commands from being carried out that has nothing to do with permissions.
fn in_the_way_of(server: &str, tried: &Tried) -> Option<Finding> {
    let (what, advice) = match tried {
        Tried::Refused(code) => (format!("it refuses commands now: {code}"), mend(code)),
        Tried::Silent(RedisFault::TimedOut { .. }) => (
            "it does not answer in time".to_owned(),
            "see what keeps it busy: redis-cli SLOWLOG GET, and the load of its machine",
        ),
        Tried::Silent(fault) => (
            format!("it does not answer: {fault}"),
            "look into the log of Redis",
        ),
        _ => return None,
    };
    let finding = Finding::fine(Check::Writes, server, what);
    Some(finding.judged(Verdict::Error, advice))
}

/// What helps against a refusal with this code.
fn mend(code: &str) -> &'static str {
    match code {
        "OOM" => "its memory is full: raise maxmemory, or give it a machine with more",
        "MISCONF" => "it cannot save to its disk: look into its log, and make room there",
        "READONLY" => "it is a replica: name the primary in the Redis URL, or the sentinels",
        "LOADING" => "it still reads its data from the disk: wait, and try again",
        "NOREPLICAS" => "too few replicas are connected (min-replicas-to-write): see to them",
        "BUSY" => "a script runs in it and does not end: SCRIPT KILL ends it",
        "CLUSTERDOWN" => "its cluster is down: redis-cli CLUSTER INFO tells more",
        "MASTERDOWN" => "it is a replica, and its primary is away",
        _ => "look into the log of Redis",
    }
}
