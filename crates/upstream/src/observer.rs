//! Events of connections, for metrics.

use std::{fmt, sync::Arc, time::Duration};

use crate::{error::UpstreamError, site::Site};

/// Receives events of the connections of a [`Client`](crate::Client), for metrics.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Called after an attempt to connect to `site`. If the connection is established, `result` is
    /// `Ok`. `time` includes name resolution and the TLS handshake.
    fn connected(&self, site: &Site, time: Duration, result: Result<(), &UpstreamError>);

    /// Called when a connection to `site` is closed, if [`connected`](Self::connected) has reported
    /// the connection as established.
    fn closed(&self, site: &Site);
}

/// An open connection. Dropping the value reports the connection as closed.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    observer: Arc<dyn Observer>,
    site: Site,
}

impl OpenConnection {
    pub(crate) fn new(observer: &Arc<dyn Observer>, site: &Site) -> Self {
        Self {
            observer: Arc::clone(observer),
            site: site.clone(),
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.observer.closed(&self.site);
    }
}
