//! State of the upstream gateway, and the rules that decide which sites the gateway may call.

use std::sync::Arc;

use actix_web::{
    HttpMessage, HttpRequest,
    http::header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use tee_session_domain::{BaseUrl, SessionId};
use tee_session_upstream::{
    Admission, Busy, Client, ExchangeLimits, Place, Site, UpstreamError, Watch,
};

use super::{metrics::Connections, not_callable::NotCallable};
use crate::settings::{ApiSettings, UpstreamSettings};

/// Limits on the concurrent exchanges of the process. All workers share these limits.
#[derive(Debug, Clone)]
pub(crate) struct SharedLimits(Arc<ExchangeLimits>);

/// Gateway of one worker. Each worker has its own HTTP client. The connections of this client run
/// on the runtime of the worker.
#[derive(Debug)]
pub(crate) struct Gateway {
    client: Client,
    limits: Arc<ExchangeLimits>,
}

/// Permit that counts towards the limit on all exchanges. The middleware stores the permit in the
/// extensions of a request to the gateway, and the handler takes it out again.
struct Admitted(Admission);

impl Gateway {
    /// Creates the gateway of a worker. Returns `None` if the settings do not enable the gateway.
    pub(crate) fn new(settings: &ApiSettings, limits: Option<&SharedLimits>) -> Option<Self> {
        let (limits, upstream) = (limits?, settings.upstream.as_ref()?);
        let tls = Arc::clone(&upstream.tls);
        let client = Client::new(tls, upstream.addresses.clone(), upstream.client.clone());
        let hosts = settings.allowed_base_hosts.clone();
        Some(Self {
            client: client.with_observer(Arc::new(Connections { hosts })),
            limits: Arc::clone(&limits.0),
        })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the site of the session with the base URL `base_url`. Fails if the settings do not
    /// allow the gateway to call this site.
    ///
    /// The host of the base URL is compared with `allowed_base_hosts` at every call. The list may
    /// have changed since the session was created, or another program may have stored the session.
    pub(crate) fn site_of(
        &self,
        base_url: &BaseUrl,
        settings: &ApiSettings,
    ) -> Result<Site, NotCallable> {
        if !settings.allowed_base_hosts.allows(base_url) {
            return Err(NotCallable::Host);
        }
        let site = Site::of_url(base_url.as_str()).map_err(|_| NotCallable::Host)?;
        self.client.check(&site).map_err(NotCallable::Address)?;
        Ok(site)
    }

    /// Returns a value that detects whether an exchange of `session` has ended since this call.
    /// Session data that was loaded before this end may lack the cookies of the exchange.
    pub(crate) fn watch(&self, session: SessionId) -> Watch {
        self.limits.watch(&session.to_string())
    }

    /// If the request has a body, releases the permit that counts towards the limit on all
    /// exchanges. Bodies that are still arriving have a separate limit, so that slow clients cannot
    /// use up the limit on exchanges. When the body has been read, [`place`](Self::place) acquires
    /// a permit again.
    pub(crate) fn release_until_body_is_read(request: &HttpRequest) {
        let fields = request.headers();
        let length = fields.get(CONTENT_LENGTH);
        if fields.contains_key(TRANSFER_ENCODING) || length.is_some_and(|length| length != "0") {
            drop(request.extensions_mut().remove::<Admitted>());
        }
    }

    /// Waits until the limits allow another exchange of the session with the site. Returns the
    /// permit.
    pub(crate) async fn place(
        &self,
        request: &HttpRequest,
        site: &Site,
        session: SessionId,
    ) -> Result<Place, UpstreamError> {
        let admitted = request.extensions_mut().remove::<Admitted>();
        let admission = match admitted {
            Some(Admitted(admission)) => admission,
            None => self.limits.admit()?,
        };
        let session = session.to_string();
        Ok(self.limits.place(admission, site, &session).await?)
    }
}

impl SharedLimits {
    pub(crate) fn new(settings: &UpstreamSettings) -> Self {
        Self(Arc::new(ExchangeLimits::new(settings.limits.clone())))
    }

    /// Returns the number of exchanges that are running or waiting for a permit.
    pub(crate) fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    /// Counts a request to the gateway against the limit on all exchanges, until its exchange has
    /// ended.
    pub(crate) fn admit(&self, request: &impl HttpMessage) -> Result<(), Busy> {
        let admission = self.0.admit()?;
        request.extensions_mut().insert(Admitted(admission));
        Ok(())
    }
}
