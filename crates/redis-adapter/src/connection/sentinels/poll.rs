//! A single poll of all sentinels, for diagnosis.

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    ConnectFault, for_sentinel,
    sentinel_report::{Consensus, SentinelReport, consensus},
};
use crate::{RedisSettings, address::Address, connection::call_once, deployment::Deployment};

/// Result of a single poll of all sentinels.
pub(crate) struct SentinelPoll {
    /// Address of each sentinel, with the address of the primary that this sentinel names, or with
    /// the fault if the sentinel could not be polled.
    pub(crate) answers: Vec<(Address, Result<Address, ConnectFault>)>,
    /// Consensus of all sentinels that replied.
    pub(crate) consensus: Consensus,
}

/// Polls all sentinels that `settings` name once, all at the same time. Returns `None` if the
/// deployment has no sentinels.
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
