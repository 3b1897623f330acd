//! One exchange with a site, which runs to its end even if the client no longer waits.

use std::{panic::resume_unwind, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    rt,
    web::{Bytes, Data},
};
use tee_session_domain::{ActiveSession, CookieUrl, SessionRepository, SessionToken};
use tee_session_upstream::{
    FailedReason, InvalidTarget, Place, Site, SiteRequest, Target, UpstreamError,
};
use tokio::sync::oneshot;
use tracing::Instrument;
use zeroize::Zeroizing;

use super::{
    gateway::Gateway,
    messages::{fields_of, method_of},
    metrics::Observed,
    response::response,
    site_cookies::{self, Merge},
};
use crate::{
    problem::ApiError, server::drain::Lifecycle, settings::ApiSettings, store::sessions::Sessions,
};

/// A request that is ready to be sent to the site of a session.
pub(crate) struct Exchange {
    pub(crate) token: SessionToken,
    /// The session whose cookies the request carries.
    pub(crate) active: ActiveSession,
    pub(crate) site: Site,
    pub(crate) target: Target,
    pub(crate) body: Bytes,
}

impl Exchange {
    /// Returns the value of the header field `Cookie`, and the URL to which it is sent.
    ///
    /// # Errors
    /// Fails if a cookie cannot be sent.
    pub(crate) fn cookie<R: SessionRepository>(
        &self,
        sessions: &Sessions<R>,
    ) -> Result<(Option<Zeroizing<String>>, CookieUrl), ApiError> {
        let url = site_cookies::request_url(&self.site, &self.target);
        let url = url.ok_or(ApiError::InvalidTarget(InvalidTarget::Characters))?;
        let now = sessions.repository().now();
        let cookie = site_cookies::cookie_field(&self.active, &url, now)?;
        Ok((cookie, url))
    }

    /// Sends the request and returns the answer of the site, after its cookies were merged into the
    /// session.
    ///
    /// The exchange runs in a task of its own. If the client disconnects, the exchange continues
    /// until the head of the answer is received and the cookies are kept. The connection to the
    /// site is then closed. The number of such tasks is limited, because each one holds `place`.
    pub(crate) async fn run<R: SessionRepository>(
        self,
        request: &HttpRequest,
        gateway: &Data<Gateway>,
        sessions: &Sessions<R>,
        settings: &Data<ApiSettings>,
        place: Place,
    ) -> Result<HttpResponse, ApiError> {
        let (cookie, url) = self.cookie(sessions)?;
        let method = method_of(request).ok_or(ApiError::NotFound)?;
        let own_host = request.headers().get("host");
        let own_host = own_host
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let sent = SiteRequest::new(method, self.target.clone())
            .with_fields(fields_of(request))
            .with_own_host(own_host)
            .with_cookie(cookie)
            .with_body(self.body.clone());
        let is_head = request.method() == Method::HEAD;
        let lifecycle = request.app_data::<Data<Arc<Lifecycle>>>().cloned();
        let lifecycle = lifecycle.map(|lifecycle| Arc::clone(lifecycle.get_ref()));
        let lifecycle = lifecycle.unwrap_or_else(|| Arc::new(Lifecycle::new()));
        let (gateway, sessions) = (gateway.clone(), sessions.clone());
        let settings = settings.clone();
        let (result, received) = oneshot::channel();
        let exchange = async move {
            let counted = lifecycle.exchange();
            let observed = Observed::begin(&self.active.session.base_url, &settings);
            let answered = gateway.client().send(&self.site, sent, place).await;
            observed.end(answered.as_ref());
            let answer = match answered {
                Ok(answer) => answer,
                Err(error) => {
                    let _ = result.send(Err(error.into()));
                    return;
                }
            };
            let update = site_cookies::cookies_of(&answer, url, &self.active);
            let mut unkept = None;
            if let Some(update) = update {
                let limit = settings.answer_timeout;
                let merged = site_cookies::merge(&sessions, &self.token, &update, limit).await;
                unkept = (merged == Merge::NotKept).then_some(update);
            }
            // If the client has disconnected, the answer is dropped here, which closes the
            // connection to the site.
            let _ = result.send(Ok(response(answer, unkept.is_none(), is_head, counted)));
            if let Some(update) = unkept {
                let _counted = lifecycle.exchange();
                let limit = settings.answer_timeout;
                site_cookies::merge_later(&sessions, &self.token, &update, limit).await;
            }
        };
        let task = rt::spawn(exchange.in_current_span());
        match received.await {
            Ok(result) => result,
            // The task ended without a result: it panicked, or the worker stops.
            Err(_) => match task.await {
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                _ => Err(UpstreamError::from(FailedReason::GivenUp).into()),
            },
        }
    }
}
