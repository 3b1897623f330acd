//! HTTP client that sends requests to sites.

use std::{fmt, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{DATE, SET_COOKIE, TRANSFER_ENCODING},
    response,
};
use http_body_util::Full;
use hyper::body::Incoming;
use rustls::ClientConfig;
use tokio::{task::yield_now, time::Instant};

use crate::{
    addresses::AddressPolicy,
    answer::SiteAnswer,
    body::{Reuse, SiteBody},
    coding::MAX_READ_BYTES,
    connect_error::ConnectError,
    connection::{Connection, HttpRequest, NoAnswer},
    connector::Connector,
    error::{FailedReason, NotAllowed, RefusedAnswer, SendError, UpstreamError},
    exchange_limits::Place,
    fields::{announced_keep_alive, content_length},
    login::{LoginSignal, searched_coding},
    lookup::{Lookup, SystemLookup},
    observer::{Observer, OpenConnection},
    pool::Pool,
    request::SiteRequest,
    request_fields,
    response_fields::{self, Exchange},
    settings::ClientSettings,
    site::Site,
    site_stream::HeadBudget,
};

/// Sends requests to sites, and reuses idle connections. Clones share their connections.
///
/// The connections run on the runtime on which [`send`](Self::send) is called.
#[derive(Clone)]
pub struct Client {
    connector: Arc<Connector>,
    pool: Arc<Pool>,
    settings: Arc<ClientSettings>,
    observer: Option<Arc<dyn Observer>>,
}

impl Client {
    /// Creates a client. `tls` determines the accepted server certificates.
    #[must_use]
    pub fn new(tls: Arc<ClientConfig>, policy: AddressPolicy, settings: ClientSettings) -> Self {
        Self::with_lookup(tls, policy, settings, Arc::new(SystemLookup))
    }

    /// Creates a client that resolves host names with `lookup`.
    #[must_use]
    pub fn with_lookup(
        tls: Arc<ClientConfig>,
        policy: AddressPolicy,
        settings: ClientSettings,
        lookup: Arc<dyn Lookup>,
    ) -> Self {
        let connector = Connector::new(tls, policy, lookup, settings.connect_timeout);
        let pool = Pool::new(
            settings.idle_timeout,
            settings.max_idle_per_site,
            settings.max_idle,
        );
        Self {
            connector: Arc::new(connector),
            pool: Arc::new(pool),
            settings: Arc::new(settings),
            observer: None,
        }
    }

    /// Makes the client report each attempt to connect, and each closed connection, to `observer`.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Checks the rules for `site` that do not depend on its addresses.
    ///
    /// # Errors
    /// Fails if the scheme of the site is `http` and such sites are not allowed.
    pub fn check(&self, site: &Site) -> Result<(), NotAllowed> {
        self.connector.policy().check_scheme(site)
    }

    /// Returns the maximum time from sending a request to the head of its answer.
    #[must_use]
    pub fn response_timeout(&self) -> Duration {
        self.settings.response_timeout
    }

    /// Sends a request to `site`, and returns the answer as soon as its head is received. `place`
    /// (the permit of the exchange) is released when the body of the answer has been read or
    /// dropped.
    ///
    /// No request is sent twice. If an idle connection closes before any part of the request was
    /// written to it, the request is sent on another connection.
    ///
    /// # Errors
    /// [`UpstreamError::outcome`] shows whether the site may have received the request. If the site
    /// sent an answer that cannot be passed on, [`SendError::refused`] contains its cookies.
    pub async fn send(
        &self,
        site: &Site,
        request: SiteRequest,
        place: Place,
    ) -> Result<SiteAnswer, SendError> {
        self.check(site).map_err(UpstreamError::from)?;
        let exchange = Exchange::new(site, &request.target);
        let method = request.method.clone();
        let mut request = self.http_request(site, request);
        while let Some(mut connection) = self.idle_connection(site).await {
            match self.exchange(&mut connection, request).await {
                Ok(response) => {
                    let answer = self.answer(exchange, &method, response, connection, place);
                    return answer.await;
                }
                Err(NoAnswer::NotStarted(unsent)) => request = *unsent,
                Err(NoAnswer::Failed(error)) => return Err(error.into()),
            }
        }
        let mut connection = self.connect(site).await?;
        match self.exchange(&mut connection, request).await {
            Ok(response) => {
                let answer = self.answer(exchange, &method, response, connection, place);
                answer.await
            }
            Err(NoAnswer::NotStarted(_)) => Err(UpstreamError::from(ConnectError::Closed).into()),
            Err(NoAnswer::Failed(error)) => Err(error.into()),
        }
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        request: HttpRequest,
    ) -> Result<Response<Incoming>, NoAnswer> {
        connection
            .send(request, self.settings.response_timeout)
            .await
    }

    async fn connect(&self, site: &Site) -> Result<Connection, UpstreamError> {
        let started = Instant::now();
        let connected = async {
            let budget = Arc::new(HeadBudget::default());
            let stream = self.connector.connect(site, Arc::clone(&budget)).await?;
            let connection = Connection::start(stream, budget).await;
            connection.map_err(|_| ConnectError::Closed.into())
        };
        let mut connected = connected.await;
        if let Some(observer) = &self.observer {
            let result = connected.as_ref().map(|_| ());
            observer.connected(site, started.elapsed(), result);
            if let Ok(connection) = &mut connected {
                connection.observed = Some(OpenConnection::new(observer, site));
            }
        }
        connected
    }

    /// Returns an idle connection to `site`. Skips connections that the client knows to be closed.
    /// Returns `None` if no connection remains.
    async fn idle_connection(&self, site: &Site) -> Option<Connection> {
        loop {
            let connection = self.pool.take(site)?;
            // During the yield, the runtime polls the connection. If the site has already closed
            // the connection, the client notices the close before it sends the request.
            yield_now().await;
            if !connection.is_closed() {
                return Some(connection);
            }
        }
    }

    fn http_request(&self, site: &Site, request: SiteRequest) -> HttpRequest {
        let fields = request_fields::clean(site, &request, &self.settings);
        let mut http = Request::new(Full::new(request.body));
        *http.method_mut() = request.method;
        *http.uri_mut() = request.target.path_and_query().into();
        *http.version_mut() = Version::HTTP_11;
        *http.headers_mut() = fields;
        http
    }

    async fn answer(
        &self,
        exchange: Exchange<'_>,
        method: &Method,
        response: Response<Incoming>,
        connection: Connection,
        place: Place,
    ) -> Result<SiteAnswer, SendError> {
        let (head, incoming) = response.into_parts();
        let has_body = *method != Method::HEAD
            && head.status != StatusCode::NO_CONTENT
            && head.status != StatusCode::NOT_MODIFIED;
        let announced = content_length(&head.headers);
        let limit = self.settings.max_response_bytes;
        let set_cookie = cookies_of(&head.headers);
        let body_length = announced.filter(|_| has_body);
        if let Some(reason) = reason_to_refuse(&head, body_length, limit) {
            let refused = RefusedAnswer {
                set_cookie,
                date: head.headers.get(DATE).cloned(),
                _place: place,
            };
            return Err(SendError::with_refused_answer(reason, refused));
        }
        // Some applications send a body with an answer that must not have a body. On a reused
        // connection, the bytes of this body would count as the next answer, perhaps for another
        // session.
        let may_have_stray_body = !has_body
            && (announced.unwrap_or(0) > 0 || head.headers.contains_key(TRANSFER_ENCODING));
        let time_to_head = connection.time_to_head();
        let reuse = Reuse {
            connection,
            pool: Arc::clone(&self.pool),
            site: exchange.site().clone(),
            announced: announced_keep_alive(&head.headers),
            is_allowed: !may_have_stray_body,
        };
        let login = &self.settings.login;
        let (site, target) = (exchange.site(), exchange.target());
        let login_over = login.in_head(site, target, head.status, &head.headers);
        let may_search = login_over.is_none() && login.may_search(method, target);
        let searched = searched_coding(head.status, &head.headers).filter(|_| may_search);
        let fields = response_fields::clean(&exchange, head.headers, &self.settings);
        let stall_timeout = self.settings.stall_timeout;
        let mut answer = SiteAnswer {
            status: head.status,
            fields,
            set_cookie,
            announced_length: announced
                .filter(|_| !has_body && head.status != StatusCode::NO_CONTENT),
            time_to_head,
            login_over,
            body: SiteBody::new(incoming, reuse, place, limit, stall_timeout),
        };
        if let Some(coding) = searched {
            let begin = answer.body.read_ahead(MAX_READ_BYTES).await;
            let is_login_page = login.are_in(coding, begin);
            answer.login_over = is_login_page.then_some(LoginSignal::Marker);
        }
        Ok(answer)
    }
}

/// Returns the values of the `Set-Cookie` header fields.
fn cookies_of(fields: &HeaderMap) -> Vec<HeaderValue> {
    fields.get_all(SET_COOKIE).iter().cloned().collect()
}

/// Returns the reason why an answer cannot be passed on, or `None` if the answer can be passed on.
/// `announced` is the value of `Content-Length`.
fn reason_to_refuse(
    head: &response::Parts,
    announced: Option<u64>,
    limit: Option<u64>,
) -> Option<FailedReason> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Some(FailedReason::ProtocolChange);
    }
    if has_unknown_coding(&head.headers) {
        return Some(FailedReason::TransferCoding);
    }
    let limit = limit.filter(|limit| announced.is_some_and(|length| length > *limit))?;
    Some(FailedReason::TooLong { limit })
}

/// Returns `true` if an answer has a transfer coding other than `chunked`. hyper decodes only
/// `chunked`, so the client would receive a body that is still encoded.
fn has_unknown_coding(fields: &HeaderMap) -> bool {
    let mut values = fields.get_all(TRANSFER_ENCODING).iter();
    values.any(|value| {
        !value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    })
}

/// Shows the name of the type only.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut client = f.debug_struct("Client");
        client
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
