//! The sentinels, and the primary that they name.

use futures_util::future::join_all;

use super::{
    Needs, connecting,
    finding::{Check, Finding, Verdict},
    server,
};
use crate::{
    RedisFault, RedisSettings,
    address::Address,
    connection::{ConnectFault, PROBE_NAME, Survey, Verdict as Named, survey as survey_sentinels},
    deployment::Deployment,
    record::Key,
};

/// What the sentinels say, if the settings name any.
pub(super) async fn survey(
    settings: &RedisSettings,
    progress: &mut impl FnMut(&str),
) -> Option<Survey> {
    if let Deployment::Sentinel { sentinels, .. } = &settings.deployment {
        progress(&format!("asking {} sentinels", sentinels.len()));
    }
    survey_sentinels(settings).await
}

/// Tells what is to be told of the sentinels, and looks at the primary.
pub(super) async fn examine(
    settings: &RedisSettings,
    needs: Needs,
    survey: Survey,
    progress: &mut impl FnMut(&str),
) -> Vec<Finding> {
    let primary = match &survey.verdict {
        Named::Primary(address) => Some(address.clone()),
        Named::FailingOver | Named::Unknown => None,
    };
    let judged = survey
        .answers
        .into_iter()
        .map(|(sentinel, answer)| judge(settings, sentinel, answer, primary.as_ref()));
    let mut found = join_all(judged).await;
    let Some(primary) = primary else {
        if survey.verdict == Named::FailingOver {
            let advice = "wait for the end of the failover, and try again";
            let what = "the sentinels are replacing the primary";
            found.push(Finding::error(Check::Sentinel, "", what, advice).of_all());
        }
        return found;
    };
    progress(&format!("asking the primary at {primary}"));
    let settings = settings.for_server(&primary);
    found.extend(server::examine(&settings, needs, Key::named(PROBE_NAME)).await);
    found
}

async fn judge(
    settings: &RedisSettings,
    sentinel: Address,
    answer: Result<Address, ConnectFault>,
    primary: Option<&Address>,
) -> Finding {
    let server = sentinel.to_string();
    // Others can do without one of them.
    let at_worst = if primary.is_some() {
        Verdict::Warning
    } else {
        Verdict::Error
    };
    let lacks = |what: &str, advice: &str| {
        Finding::fine(Check::Sentinel, &server, what).judged(at_worst, advice)
    };
    match answer {
        Ok(named) if primary.is_none_or(|primary| *primary == named) => Finding::fine(
            Check::Sentinel,
            &server,
            format!("names the primary {named}"),
        ),
        Ok(named) => lacks(
            &format!("names another primary than most: {named}"),
            "look into its log: it may be cut off from the others",
        ),
        Err(ConnectFault::UnknownService) => lacks(
            "knows no primary of the name in the Redis URL",
            "mend sentinelServiceName in the Redis URL; redis-cli SENTINEL MASTERS, asked there, shows \
             the names",
        ),
        Err(ConnectFault::Redis(RedisFault::Refused { command, code })) if code == "NOPERM" => {
            lacks(
                &format!("does not allow {command} to its user"),
                "at each sentinel: ACL SETUSER USER +sentinel|master +sentinel|get-master-addr-by-name \
             +info",
            )
        }
        // Not the user and password of the URL itself: those are for the primary.
        Err(ConnectFault::Redis(RedisFault::Refused { command, code }))
            if command == "AUTH" || code == "NOAUTH" || code == "WRONGPASS" =>
        {
            lacks(
                &format!("refuses the login: {code}"),
                "mend sentinelUsername and sentinelPassword in the Redis URL, or leave them out if the \
                 sentinels want none",
            )
        }
        Err(fault) => {
            let failed = connecting::failed(&settings.for_server(&sentinel), &server, fault).await;
            Finding {
                check: Check::Sentinel,
                verdict: at_worst,
                ..failed
            }
        }
    }
}
