//! Builder for the HTTP request of one API call.

use reqwest::{
    Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde::Serialize;
use tee_session_domain::SessionToken;
use zeroize::Zeroizing;

use crate::{Client, ClientError, attempts::RetryPolicy, response::SuccessResponse};

pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) struct Call<'a> {
    client: &'a Client,
    request: Request,
    retry_policy: RetryPolicy,
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        client: &'a Client,
        method: Method,
        path: &str,
        retry_policy: RetryPolicy,
    ) -> Self {
        let mut url = client.url.clone();
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let mut request = Request::new(method, url);
        if let Some(fields) = &client.header_fields {
            fields.add_to(request.headers_mut());
        }
        Self {
            client,
            request,
            retry_policy,
        }
    }

    /// Adds the credentials of the service client (HTTP Basic). Adds nothing if the client was
    /// created without credentials.
    pub(crate) fn with_client_credentials(self) -> Self {
        match &self.client.credentials {
            Some(credentials) => {
                let basic = credentials.basic();
                self.with_authorization(&basic)
            }
            None => self,
        }
    }

    pub(crate) fn with_bearer_token(self, token: &SessionToken) -> Self {
        let bearer = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
        self.with_authorization(&bearer)
    }

    /// Adds a new `Idempotency-Key`, so that the request may be retried. Must be called after the
    /// credentials were added. If there are no credentials, adds nothing, because the service would
    /// reject the key.
    pub(crate) fn with_idempotency_key(mut self) -> Self {
        if self.request.headers().contains_key(AUTHORIZATION) {
            self.retry_policy = RetryPolicy::WithKey;
            // Any unguessable text can be a key. A new token cannot be guessed, and gives access
            // to no session.
            let key = SessionToken::generate();
            return self.with_header(IDEMPOTENCY_KEY, key.expose_secret(), true);
        }
        self
    }

    fn with_authorization(self, credentials: &str) -> Self {
        self.with_header(AUTHORIZATION, credentials, true)
    }

    /// Sets the header field `name`. If `value` is not a valid header value, the header field is
    /// not set. All callers pass visible ASCII, which is always valid.
    pub(crate) fn with_header(mut self, name: HeaderName, value: &str, is_secret: bool) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(is_secret);
            self.request.headers_mut().insert(name, value);
        }
        self
    }

    pub(crate) fn with_query(mut self, name: &str, value: &str) -> Self {
        let mut query = self.request.url_mut().query_pairs_mut();
        query.append_pair(name, value);
        drop(query);
        self
    }

    fn with_body(mut self, content_type: &'static str, body: Vec<u8>) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        let headers = self.request.headers_mut();
        headers.insert(CONTENT_TYPE, content_type);
        *self.request.body_mut() = Some(body.into());
        self
    }

    pub(crate) fn with_json(
        self,
        content_type: &'static str,
        body: &impl Serialize,
    ) -> Result<Self, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::unsent)?;
        Ok(self.with_body(content_type, body))
    }

    /// Sets a form body with the parameter `token`. The token is not percent-encoded, because
    /// tokens contain no characters that require encoding.
    pub(crate) fn with_token_form(self, token: &SessionToken) -> Self {
        let form = format!("token={}", token.expose_secret());
        self.with_body(FORM, form.into())
    }

    pub(crate) fn into_request(self) -> Request {
        self.request
    }

    pub(crate) async fn send(self) -> Result<SuccessResponse, ClientError> {
        let limits = self.client.limits;
        limits
            .send(&self.client.http, &self.request, self.retry_policy)
            .await
    }
}
