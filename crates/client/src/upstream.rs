//! Requests to the site of a session, through the upstream gateway of the service.

use std::{fmt, time::Duration};

use reqwest::{
    Method, Request, Response, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue, VIA},
};
use url::Url;

use crate::{
    ClientError, SessionClient, attempts::RetryPolicy, outcome::cookies_are_kept,
    response::read_problem,
};

const PREFIX: &str = "/v1/upstream";

/// Value that the service adds to the header field `Via` of each answer of a site. The client
/// treats a response without this value as an error of the service or of a proxy.
const SERVICE: &str = "1.1 tee-session";

/// Default timeout of a request to the site of a session. With its default settings, the service
/// answers within this time: up to 30 s for the head of the answer, 15 s for the search for login
/// markers, and 10 s for the wait for a permit, the connection to the site and the session store.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Request to the site of a session, returned by [`SessionClient::upstream`].
#[must_use = "the request is sent by `send`"]
pub struct UpstreamRequest<'a> {
    session: SessionClient<'a>,
    request: Result<Request, ClientError>,
    timeout: Duration,
}

impl<'a> SessionClient<'a> {
    /// Prepares a request to the site of the session (`/v1/upstream`). The service adds the cookies
    /// of the session to the request, and stores the cookies that the site sets. `path` is the path
    /// on the site, including the query. The path must begin with `/` and be percent-encoded.
    ///
    /// The client never repeats the request, whatever the method is. If the [outcome of the error
    /// is unknown](ClientError::outcome_is_unknown), the site may have carried out the request.
    ///
    /// ```no_run
    /// use tee_session_client::{Client, SessionToken, http::Method};
    ///
    /// # async fn example(client: Client, token: SessionToken) -> Result<(), Box<dyn std::error::Error>> {
    /// let list = client.session(&token).upstream(Method::GET, "/teetimes?date=2026-12-01");
    /// let answer = list.send().await?;
    /// println!("{} {}", answer.status(), answer.text().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn upstream(self, method: Method, path: &str) -> UpstreamRequest<'a> {
        let call = self.call(method, PREFIX, RetryPolicy::Never);
        let mut request = call.into_request();
        let request = url_of(request.url(), path).map(|url| {
            *request.url_mut() = url;
            request
        });
        UpstreamRequest {
            session: self,
            request,
            timeout: TIMEOUT,
        }
    }
}

/// Returns the URL of `path` below `prefix`. Fails if the URL parser would change the path, because
/// the path contains characters that a URL cannot contain.
fn url_of(prefix: &Url, path: &str) -> Result<Url, ClientError> {
    let text = format!("{prefix}{path}");
    let url = Url::parse(&text).map_err(ClientError::unsent)?;
    if path.starts_with('/') && url.as_str() == text && url.fragment().is_none() {
        Ok(url)
    } else {
        let reason =
            "the path must begin with a slash, be percent-encoded, and have no dot segments";
        Err(ClientError::unsent(reason))
    }
}

impl UpstreamRequest<'_> {
    /// Adds a header field, such as `Accept`. The site does not receive a `Cookie` or
    /// `Authorization` field that is added here.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if let Ok(request) = &mut self.request {
            request.headers_mut().append(name, value);
        }
        self
    }

    /// Sets the request body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        if let Ok(request) = &mut self.request {
            *request.body_mut() = Some(body.into().into());
        }
        self
    }

    /// Sets the timeout for the whole answer, including its body. The default is 60 s. The timeout
    /// should be at least 10 s longer than the setting `upstream_response_timeout_ms` of the
    /// service, and 25 s longer if the service has `upstream_login_markers`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the request once, and returns the answer of the site, with any status.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the answer does not come from the site, or if no answer
    /// arrives.
    pub async fn send(self) -> Result<UpstreamAnswer, ClientError> {
        let mut request = self.request?;
        *request.timeout_mut() = Some(self.timeout);
        let response = self.session.http().execute(request).await?;
        // A proxy in front may join several values in one line (RFC 9110, section 5.3).
        let mut via = response.headers().get_all(VIA).iter();
        let is_service = |value: &[u8]| value.trim_ascii() == SERVICE.as_bytes();
        if via.any(|line| line.as_bytes().split(|b| *b == b',').any(is_service)) {
            return Ok(UpstreamAnswer { response });
        }
        if response.status().is_success() {
            // The response does not come from the service, but from a proxy in front of it.
            return Err(ClientError::Decode("an answer of a site"));
        }
        Err(read_problem(response).await)
    }
}

/// Shows neither the token nor the path.
impl fmt::Debug for UpstreamRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamRequest").finish_non_exhaustive()
    }
}

/// Answer of the site of a session, without the `Set-Cookie` header fields of the site.
pub struct UpstreamAnswer {
    response: Response,
}

impl UpstreamAnswer {
    /// Returns the HTTP status of the site's answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the header fields of the answer. For a redirect within the site, `Location` is a
    /// path below `/v1/upstream`. For a redirect to another site, `X-Upstream-Location` contains
    /// the URL.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns the path and query of a redirect within the site, for the next request. Returns
    /// `None` if the answer is not such a redirect.
    #[must_use]
    pub fn redirect(&self) -> Option<&str> {
        let location = self.headers().get("location")?.to_str().ok()?;
        let path = location.strip_prefix(PREFIX)?;
        let path = path.split('#').next()?;
        (self.status().is_redirection() && path.starts_with('/')).then_some(path)
    }

    /// Returns `true` if the service has stored the cookies of this answer, or if the answer has no
    /// cookies.
    ///
    /// Returns `false` in two cases. If the store failed, the service repeats the attempt to store
    /// the cookies for a few seconds. If the session has ended or its token was rotated, the
    /// cookies are lost.
    #[must_use]
    pub fn cookies_are_kept(&self) -> bool {
        cookies_are_kept(self.headers())
    }

    /// Returns the next chunk of the body, or `None` at the end of the body.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the body breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        Ok(self.response.chunk().await?.map(Vec::from))
    }

    /// Reads the whole body as text. Replaces bytes that are not UTF-8 by U+FFFD.
    ///
    /// # Errors
    /// Returns a [`ClientError`] if the body breaks off.
    pub async fn text(mut self) -> Result<String, ClientError> {
        let mut body = Vec::new();
        while let Some(part) = self.chunk().await? {
            body.extend_from_slice(&part);
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// Shows only the status of the answer.
impl fmt::Debug for UpstreamAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut answer = f.debug_struct("UpstreamAnswer");
        answer
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
