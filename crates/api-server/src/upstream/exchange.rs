//! One exchange (a request to a site and its answer). If the client disconnects, the exchange
//! continues until its cookies are stored.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    rt,
    web::{Bytes, Data},
};
use tee_session_domain::{
    ActiveSession, CookieUrl, SessionRepository, SessionToken, SetCookieLines,
};
use tee_session_upstream::{
    FailedReason, InvalidTarget, Outcome, Place, SendError, Site, SiteAnswer, SiteRequest, Target,
    UpstreamError, http::header::DATE,
};
use tokio::sync::oneshot;
use tracing::{Instrument, Span, field::Empty};
use zeroize::Zeroizing;

use super::{
    delivery::Delivery,
    gateway::Gateway,
    log,
    messages::{fields_of, method_of},
    metrics::{AnswerOutcome, SiteLabel, Unsaved, count_unsaved},
    response::response,
    site_cookies::{self, Merge},
};
use crate::{
    problem::{ApiError, upstream_code},
    server::drain::Lifecycle,
    settings::ApiSettings,
    store::sessions::Sessions,
};

/// A request that is ready to be sent to the site of a session.
pub(crate) struct Exchange {
    pub(crate) token: SessionToken,
    /// Session whose cookies are sent with the request.
    pub(crate) active: ActiveSession,
    pub(crate) site: Site,
    /// Name of the site in logs, metrics and traces.
    pub(crate) label: SiteLabel,
    pub(crate) target: Target,
    pub(crate) body: Bytes,
}

/// Cookies of an answer that were not stored before the answer is passed on.
enum Unkept {
    /// The store failed. The merge of these cookies is repeated.
    Repeated(SetCookieLines),
    /// The session has ended, or its token was rotated. The cookies are lost.
    Gone,
}

/// Header field `Cookie` of a request to a site.
pub(crate) struct RequestCookie {
    /// Value of the header field `Cookie`. `None` if no cookie is sent with the request.
    field: Option<Zeroizing<String>>,
    /// URL of the request to the site.
    url: CookieUrl,
}

impl Exchange {
    /// Chooses the cookies to send with the request, and returns the `Cookie` header field.
    ///
    /// # Errors
    /// Fails if a cookie cannot be sent.
    pub(crate) fn cookie<R: SessionRepository>(
        &self,
        sessions: &Sessions<R>,
    ) -> Result<RequestCookie, ApiError> {
        let url = site_cookies::request_url(&self.site, &self.target);
        let url = url.ok_or(ApiError::InvalidTarget(InvalidTarget::Characters))?;
        let now = sessions.repository().now();
        let field = site_cookies::cookie_field(&self.active, &url, now)?;
        Ok(RequestCookie { field, url })
    }

    /// Sends the request, merges the cookies of the site's answer into the session, and then
    /// returns the answer.
    ///
    /// The exchange runs in a separate task. If the client disconnects, the task continues until it
    /// has received the head of the answer and merged its cookies. The task then closes the
    /// connection to the site. The number of these tasks is limited, because each task holds
    /// `place`, a permit of the gateway's limits. A merge that is repeated later, because the store
    /// failed, does not hold this permit: the module `late_merges` limits the number of such
    /// merges.
    pub(crate) async fn run<R: SessionRepository>(
        self,
        request: &HttpRequest,
        cookie: RequestCookie,
        gateway: &Data<Gateway>,
        sessions: &Sessions<R>,
        settings: &Data<ApiSettings>,
        place: Place,
    ) -> Result<HttpResponse, ApiError> {
        let RequestCookie { field, url } = cookie;
        let method = method_of(request).ok_or(ApiError::NotFound)?;
        let own_host = request.headers().get("host");
        let own_host = own_host
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let sent = SiteRequest::new(method, self.target.clone())
            .with_fields(fields_of(request))
            .with_own_host(own_host)
            .with_cookie(field)
            .with_body(self.body.clone());
        let client_method = request.method().clone();
        let lifecycle = request.app_data::<Data<Arc<Lifecycle>>>().cloned();
        let lifecycle = lifecycle.map(|lifecycle| Arc::clone(lifecycle.get_ref()));
        let lifecycle = lifecycle.unwrap_or_else(|| Arc::new(Lifecycle::new()));
        let (gateway, sessions) = (gateway.clone(), sessions.clone());
        let limit = settings.answer_timeout;
        let (result, received) = oneshot::channel();
        let exchange = async move {
            let counted = lifecycle.exchange();
            let answered = self.send(&gateway, sent, place, &client_method).await;
            let unkept = self.merge_cookies(&sessions, &answered, url, limit).await;
            let are_kept = unkept.is_none();
            let marked = |error: ApiError| if are_kept { error } else { error.unsaved() };
            let answer = match answered {
                Ok(answer) => answer,
                Err(failed) => {
                    let SendError { error, refused } = failed;
                    // Releases the place of the exchange.
                    drop(refused);
                    let _ = result.send(Err(marked(error.into())));
                    self.merge_later(&lifecycle, &sessions, unkept, limit).await;
                    return;
                }
            };
            self.label.record_head(answer.time_to_head);
            let outcome = if result.is_closed() {
                AnswerOutcome::Abandoned
            } else {
                AnswerOutcome::Answered
            };
            let passed_on = match answer.login_over {
                Some(signal) => {
                    // Releases the place of the exchange.
                    drop(answer);
                    log::expired(&self.label, &self.token, signal);
                    self.label.count_expired(signal);
                    let error = marked(ApiError::UpstreamSessionExpired);
                    match outcome {
                        AnswerOutcome::Abandoned => self.label.count_answer(outcome),
                        _ => self.label.count_problem(error.problem().code().name()),
                    }
                    Err(error)
                }
                None => {
                    let is_head = client_method == Method::HEAD;
                    let delivery = Delivery::new(self.label.clone(), self.site.clone(), outcome);
                    Ok(response(delivery, answer, are_kept, is_head, counted))
                }
            };
            // If the client has disconnected, the answer is dropped here, which closes the
            // connection to the site.
            let _ = result.send(passed_on);
            self.merge_later(&lifecycle, &sessions, unkept, limit).await;
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

    /// Merges the cookies of an answer into the session, even if the answer itself cannot be passed
    /// on to the client. Returns `None` if no cookies are left to be stored.
    async fn merge_cookies<R: SessionRepository>(
        &self,
        sessions: &Sessions<R>,
        answered: &Result<SiteAnswer, SendError>,
        url: CookieUrl,
        limit: Duration,
    ) -> Option<Unkept> {
        let (set_cookie, date) = match answered {
            Ok(answer) => (&answer.set_cookie, answer.fields.get(DATE)),
            Err(failed) => {
                let refused = failed.refused.as_ref()?;
                (&refused.set_cookie, refused.date.as_ref())
            }
        };
        let update = site_cookies::cookies_of(set_cookie, date, url, &self.active)?;
        match site_cookies::merge(sessions, &self.token, &update, limit).await {
            Merge::Done => None,
            Merge::Gone => Some(Unkept::Gone),
            Merge::NotKept => Some(Unkept::Repeated(update)),
        }
    }

    /// If the store failed, repeats the merge of the cookies in `unkept`. Counts and logs the final
    /// outcome for these cookies. Does nothing if `unkept` is `None`.
    async fn merge_later<R: SessionRepository>(
        self,
        lifecycle: &Arc<Lifecycle>,
        sessions: &Sessions<R>,
        unkept: Option<Unkept>,
        limit: Duration,
    ) {
        let Some(unkept) = unkept else { return };
        let _counted = lifecycle.exchange();
        // Frees the request body and the session, which are not needed any more.
        let (token, label) = self.into_token_and_label();
        let outcome = match unkept {
            Unkept::Gone => Unsaved::Gone,
            Unkept::Repeated(update) => {
                let kept = site_cookies::merge_later(sessions, &token, &update, limit);
                if kept.await {
                    Unsaved::KeptLate
                } else {
                    Unsaved::Lost
                }
            }
        };
        count_unsaved(outcome);
        log::cookies_not_kept_at_once(&label, &token, outcome);
    }

    fn into_token_and_label(self) -> (SessionToken, SiteLabel) {
        (self.token, self.label)
    }

    /// Sends the request to the site within a new trace span, and records the result in this span.
    /// The site does not receive the trace context.
    async fn send(
        &self,
        gateway: &Gateway,
        request: SiteRequest,
        place: Place,
        method: &Method,
    ) -> Result<SiteAnswer, SendError> {
        let label = &self.label;
        let span = client_span(method, label);
        let sent = gateway.client().send(&self.site, request, place);
        let answered = sent.instrument(span.clone()).await;
        let outcome = answered.as_ref().map_err(|failed| failed.error.outcome());
        if !matches!(outcome, Err(Outcome::NotSent)) {
            label.count_sent(self.body.len());
        }
        match &answered {
            Ok(answer) => {
                let status = answer.status.as_u16();
                span.record("http.response.status_code", status);
                log::answered(label, method, &self.target, status);
            }
            Err(SendError { error, .. }) => {
                let code = upstream_code(error).name();
                span.record("error.type", code);
                span.record("otel.status_code", "ERROR");
                log::failed(label, &self.site, error);
                if matches!(error, UpstreamError::ResponseTimeout) {
                    label.record_head(gateway.client().response_timeout());
                }
                label.count_problem(code);
            }
        }
        answered
    }
}

fn client_span(method: &Method, label: &SiteLabel) -> Span {
    tracing::info_span!(
        "upstream",
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method.as_str(),
        http.response.status_code = Empty,
        "error.type" = Empty,
        site = label.as_str(),
    )
}
