//! Diagnosis of a deployment with Sentinel: each sentinel, and the primary that the sentinels name.

use futures_util::future::join_all;

use super::{
    RequiredPermissions, connecting,
    finding::{Check, Finding, Verdict},
    server,
};
use crate::{
    RedisFault, RedisSettings,
    address::Address,
    connection::{ConnectFault, Consensus, PROBE_NAME, SentinelPoll, poll_sentinels},
    deployment::Deployment,
    record::Key,
};

/// Polls all sentinels for the primary. Returns `None` if `settings` name no sentinels.
pub(super) async fn poll(
    settings: &RedisSettings,
    progress: &mut impl FnMut(&str),
) -> Option<SentinelPoll> {
    if let Deployment::Sentinel { sentinels, .. } = &settings.deployment {
        progress(&format!("polling {} sentinels", sentinels.len()));
    }
    poll_sentinels(settings).await
}

/// Checks the primary that the sentinels name. Returns the findings about the sentinels and about
/// the primary.
pub(super) async fn examine(
    settings: &RedisSettings,
    required: RequiredPermissions,
    poll: SentinelPoll,
    progress: &mut impl FnMut(&str),
) -> Vec<Finding> {
    let primary = match &poll.consensus {
        Consensus::Primary(address) => Some(address.clone()),
        Consensus::FailingOver | Consensus::Unknown => None,
    };
    let checked = poll
        .answers
        .into_iter()
        .map(|(sentinel, answer)| judge(settings, sentinel, answer, primary.as_ref()));
    let mut found = join_all(checked).await;
    let Some(primary) = primary else {
        if poll.consensus == Consensus::FailingOver {
            let advice = "wait until the failover has ended, and try again";
            let what = "a failover is in progress: the sentinels are replacing the primary";
            found.push(Finding::error(Check::Sentinel, "", what, advice).of_all());
        }
        return found;
    };
    progress(&format!("checking the primary at {primary}"));
    let settings = settings.for_server(&primary);
    found.extend(server::examine(&settings, required, Key::named(PROBE_NAME)).await);
    found
}

async fn judge(
    settings: &RedisSettings,
    sentinel: Address,
    answer: Result<Address, ConnectFault>,
    primary: Option<&Address>,
) -> Finding {
    let server = sentinel.to_string();
    // If the other sentinels name a primary, a fault of one sentinel is only a warning.
    let verdict = if primary.is_some() {
        Verdict::Warning
    } else {
        Verdict::Error
    };
    let fault = |what: &str, advice: &str| {
        Finding::fine(Check::Sentinel, &server, what).with_verdict(verdict, advice)
    };
    match answer {
        Ok(named) if primary.is_none_or(|primary| *primary == named) => Finding::fine(
            Check::Sentinel,
            &server,
            format!("names the primary {named}"),
        ),
        Ok(named) => fault(
            &format!("names another primary than most sentinels: {named}"),
            "check its log: it may be cut off from the others",
        ),
        Err(ConnectFault::UnknownService) => fault(
            "knows no primary with the name in the Redis URL",
            "fix sentinelServiceName in the Redis URL; redis-cli SENTINEL MASTERS, sent to the \
             sentinel, shows the names",
        ),
        Err(ConnectFault::Redis(RedisFault::Refused { command, code })) if code == "NOPERM" => {
            fault(
                &format!("does not permit {command} to its user"),
                "at each sentinel: ACL SETUSER USER +sentinel|master \
                 +sentinel|get-master-addr-by-name +info",
            )
        }
        // The user and password before the host in the URL are for the primary, so the advice does
        // not mention them.
        Err(ConnectFault::Redis(RedisFault::Refused { command, code }))
            if command == "AUTH" || code == "NOAUTH" || code == "WRONGPASS" =>
        {
            fault(
                &format!("refuses the login: {code}"),
                "fix sentinelUsername and sentinelPassword in the Redis URL, or remove them if the \
                 sentinels need no login",
            )
        }
        Err(error) => {
            let failed = connecting::failed(&settings.for_server(&sentinel), &server, error).await;
            Finding {
                check: Check::Sentinel,
                verdict,
                ..failed
            }
        }
    }
}
