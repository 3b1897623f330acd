//! What the sentinels of a URL say when each is asked once.

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    ConnectFault, for_sentinel,
    view::{Verdict, View, verdict},
};
use crate::{RedisSettings, address::Address, connection::call_once, deployment::Deployment};

/// What the sentinels say.
pub(crate) struct Survey {
    /// Where the primary is, as each says; or why it does not.
    pub(crate) answers: Vec<(Address, Result<Address, ConnectFault>)>,
    /// What follows from all of it.
    pub(crate) verdict: Verdict,
}

/// Asks all sentinels that `settings` name, if they do, at the same time.
pub(crate) async fn survey(settings: &RedisSettings) -> Option<Survey> {
    let Deployment::Sentinel {
        sentinels,
        service,
        credentials,
    } = &settings.deployment
    else {
        return None;
    };
    let asked = sentinels.iter().map(|sentinel| async move {
        let settings = for_sentinel(settings, sentinel, credentials);
        call_once(&settings, async |call| Ok(View::ask(&call, service).await))
            .await
            .flatten()
    });
    // What the quick ones said is none the older for one that is slow.
    let asked_at = Instant::now();
    let views: Vec<_> = join_all(asked).await;
    let heard: Vec<_> = views
        .iter()
        .map(|view| view.as_ref().ok().cloned())
        .collect();
    let answers = views.into_iter().map(|view| Ok(view?.primary().clone()));
    Some(Survey {
        answers: sentinels.iter().cloned().zip(answers).collect(),
        verdict: verdict(&heard, asked_at),
    })
}
