//! A single poll of all sentinels, for diagnosis.

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    sentinel_report::{Consensus, SentinelReport, consensus},
    sentinel_settings::for_sentinel,
};
use crate::{
    RedisSettings,
    address::Address,
    connection::{ConnectFault, call_once},
    deployment::Deployment,
};

/// Result of a single poll of all sentinels.
pub(crate) struct SentinelPoll {
    /// The address of each sentinel, together with the result of its poll. The result is the
    /// address of the primary, or a fault if the sentinel could not be polled.
    pub(crate) answers: Vec<(Address, Result<Address, ConnectFault>)>,
    /// Consensus of all sentinels that replied, about the current primary.
    pub(crate) consensus: Consensus,
}

/// Polls all sentinels in `settings` once, at the same time. Returns `None` if the deployment has
/// no sentinels.
pub(crate) async fn poll_sentinels(settings: &RedisSettings) -> Option<SentinelPoll> {
    let Deployment::Sentinel {
        sentinels,
        service,
        credentials,
    } = &settings.deployment
    else {
        return None;
    };
    let requests = sentinels.iter().map(|sentinel| async move {
        let settings = for_sentinel(settings, sentinel, credentials);
        call_once(&settings, async |call| {
            Ok(SentinelReport::request(&call, service).await)
        })
        .await
        .flatten()
    });
    // The age of every report is measured at the start of the poll. Otherwise a slow sentinel would
    // make the reports of the other sentinels too old.
    let started_at = Instant::now();
    let reports: Vec<_> = join_all(requests).await;
    let received: Vec<_> = reports
        .iter()
        .map(|report| report.as_ref().ok().cloned())
        .collect();
    let answers = reports
        .into_iter()
        .map(|report| Ok(report?.primary().clone()));
    Some(SentinelPoll {
        answers: sentinels.iter().cloned().zip(answers).collect(),
        consensus: consensus(&received, started_at),
    })
}
