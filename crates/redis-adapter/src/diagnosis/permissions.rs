//! Finds missing permissions of the Redis user by sending each required command.

use futures_util::future::join_all;

use super::{
    RequiredPermissions,
    check_outcome::CheckOutcome,
    examination::Examination,
    finding::{Check, Finding, Verdict},
    permission_checks::{Feature, PermissionCheck, SESSION_KEYS, features},
};
use crate::{RedisFault, connection::Command, record::Key};

/// Makes all permission checks at one server, and returns the findings. The replies also show
/// whether the server accepts reads and writes now.
pub(super) async fn check(
    examination: &Examination<'_>,
    required: RequiredPermissions,
    probe: &Key,
) -> Vec<Finding> {
    let features = features(examination.settings, required, probe);
    let checks = features.iter().flat_map(|feature| &feature.checks);
    // All commands are sent before the first reply is awaited, so that the checks do not take one
    // round trip each.
    let sent: Vec<_> = checks.map(|check| send(examination, check)).collect();
    let mut outcomes = join_all(sent).await.into_iter();
    let checked: Vec<_> = features
        .iter()
        .map(|feature| CheckedFeature {
            feature,
            outcomes: outcomes.by_ref().take(feature.checks.len()).collect(),
        })
        .collect();
    let (server, user) = (examination.server, examination.settings.user());
    let mut found: Vec<_> = checked
        .iter()
        .filter_map(|feature| feature.missing(&checked, server, user))
        .collect();
    found.extend(checked.iter().filter_map(|feature| feature.unknown(server)));
    let outcomes = checked.iter().flat_map(|feature| &feature.outcomes);
    let mut refusals = outcomes.filter_map(|outcome| refusal(server, outcome));
    match refusals.next() {
        Some(finding) => found.push(finding),
        None => {
            if found.is_empty() {
                let what = format!("{user} has all required permissions");
                found.push(Finding::fine(Check::Permissions, server, what));
            }
            if has_access(Some(SESSION_KEYS), &checked) {
                let what = "it accepts reads and writes";
                found.push(Finding::fine(Check::Writes, server, what));
            }
        }
    }
    found
}

async fn send(examination: &Examination<'_>, check: &PermissionCheck) -> CheckOutcome {
    let arguments: Vec<&[u8]> = check.arguments.iter().map(Vec::as_slice).collect();
    let command = Command::new(check.command, &arguments);
    let replied = examination.call.send([command]).await;
    CheckOutcome::of(replied.map(|[reply]| reply))
}

/// A feature of the service, and the outcome of each permission check of the feature.
struct CheckedFeature<'a> {
    feature: &'a Feature,
    outcomes: Vec<CheckOutcome>,
}

impl CheckedFeature<'_> {
    fn checks(&self) -> impl Iterator<Item = (&PermissionCheck, &CheckOutcome)> {
        self.feature.checks.iter().zip(&self.outcomes)
    }

    /// Returns a finding that names the permissions that the user lacks for the feature, and the
    /// ACL rules that add these permissions. Returns `None` if no permission is missing.
    fn missing(&self, all: &[Self], server: &str, user: &str) -> Option<Finding> {
        let (mut lacking, mut rules) = (Vec::new(), Vec::new());
        let mut keys: Vec<&str> = Vec::new();
        for (check, outcome) in self.checks() {
            if *outcome == CheckOutcome::CommandNotPermitted {
                lacking.push(check.command.to_owned());
                rules.push(format!("+{}", check.rule));
            }
            // If the command is not permitted, the reply does not show whether the key is
            // permitted. If another command for keys of the same pattern was permitted, the key
            // counts as permitted. Otherwise the key counts as refused.
            let is_key_refused = match outcome {
                CheckOutcome::KeyNotPermitted => true,
                CheckOutcome::CommandNotPermitted => !has_access(check.keys, all),
                _ => false,
            };
            if let Some(pattern) = check
                .keys
                .filter(|pattern| is_key_refused && !keys.contains(pattern))
            {
                keys.push(pattern);
            }
        }
        lacking.extend(keys.iter().map(|pattern| format!("keys {pattern}")));
        rules.extend(keys.iter().map(|pattern| format!("~{pattern}")));
        let loss = self.feature.loss;
        let what = format!("{loss}: {user} lacks permission for {}", lacking.join(", "));
        let advice = format!("in Redis: ACL SETUSER {user} {}", rules.join(" "));
        let finding = Finding::fine(Check::Permissions, server, what);
        (!rules.is_empty()).then(|| finding.with_verdict(self.feature.verdict, advice))
    }

    /// Returns a finding that names the commands of the feature that the server does not know.
    /// Returns `None` if the server knows all of them.
    fn unknown(&self, server: &str) -> Option<Finding> {
        let unknown = self
            .checks()
            .filter(|(_, outcome)| **outcome == CheckOutcome::UnknownCommand);
        let commands: Vec<_> = unknown.map(|(check, _)| check.command).collect();
        let loss = self.feature.loss;
        let what = format!("{loss}: Redis does not know {}", commands.join(", "));
        let finding = Finding::fine(Check::Permissions, server, what);
        (!commands.is_empty()).then(|| {
            let advice = "restore the name of the command (rename-command in the configuration of \
                 Redis), or use a Redis that has the command";
            finding.with_verdict(self.feature.verdict, advice)
        })
    }
}

/// Returns `true` if at least one permission check in `all` for keys of the ACL pattern `keys` had
/// the outcome [`CheckOutcome::Permitted`]. If `keys` is `None`, considers only commands without
/// keys.
fn has_access(keys: Option<&str>, all: &[CheckedFeature<'_>]) -> bool {
    let mut checks = all.iter().flat_map(CheckedFeature::checks);
    checks.any(|(check, outcome)| check.keys == keys && *outcome == CheckOutcome::Permitted)
}

/// Returns a finding if the server refused the command for a reason other than permissions, or did
/// not reply. Returns `None` for all other outcomes.
fn refusal(server: &str, outcome: &CheckOutcome) -> Option<Finding> {
    let (what, advice) = match outcome {
        CheckOutcome::Refused(code) => (
            format!("it currently refuses commands: {code}"),
            remedy(code),
        ),
        CheckOutcome::NoReply(RedisFault::TimedOut { .. }) => (
            "it does not reply in time".to_owned(),
            "check what keeps it busy: redis-cli SLOWLOG GET, and the load of its machine",
        ),
        CheckOutcome::NoReply(fault) => (
            format!("it does not reply: {fault}"),
            "check the log of Redis",
        ),
        _ => return None,
    };
    let finding = Finding::fine(Check::Writes, server, what);
    Some(finding.with_verdict(Verdict::Error, advice))
}

/// Returns advice on how to fix the cause of an error reply with the error code `code`, such as
/// `OOM`.
fn remedy(code: &str) -> &'static str {
    match code {
        "OOM" => "its memory is full: raise maxmemory, or use a machine with more memory",
        "MISCONF" => "it cannot save to its disk: check its log, and free space on the disk",
        "READONLY" => "it is a replica: name the primary in the Redis URL, or the sentinels",
        "LOADING" => "it is still loading its data from disk: wait, and try again",
        "NOREPLICAS" => "too few replicas are connected (min-replicas-to-write): check them",
        "BUSY" => "a script has been running for too long: SCRIPT KILL ends it",
        "CLUSTERDOWN" => "its cluster is down: redis-cli CLUSTER INFO shows details",
        "MASTERDOWN" => "it is a replica that is not connected to its primary: check the primary",
        _ => "check the log of Redis",
    }
}
