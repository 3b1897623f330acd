//! Observation of connections, for metrics.

use std::{fmt, sync::Arc, time::Duration};

use crate::{error::UpstreamError, site::Site};

/// Receives events of the connections of a [`Client`](crate::Client), for metrics.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Receives the result of an attempt to connect to `site`. `time` includes the look-up of the name
    /// and the TLS handshake.
    fn connected(&self, site: &Site, time: Duration, result: Result<(), &UpstreamError>);

    /// Receives the end of a connection to `site` that [`connected`](Self::connected) has reported.
    fn closed(&self, site: &Site);
}

/// An open connection. It is reported as closed when this value is dropped.
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
