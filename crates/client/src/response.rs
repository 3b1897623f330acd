//! Reader for HTTP responses of the service.

use reqwest::{
    Response,
    header::{ETAG, HeaderMap},
};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::{ClientError, ETag, Problem};

/// Maximum length of a response body in bytes. The longest response of the service, a page of 100
/// sessions, has about a tenth of this length.
const MAX_LEN: usize = 1024 * 1024;

/// A response with a 2xx status, with its whole body in memory.
pub(crate) struct SuccessResponse {
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

/// Reads an error response.
pub(crate) async fn read_problem(mut response: Response) -> ClientError {
    match read_body(&mut response).await {
        Ok(body) => Problem::read(response.status(), response.headers(), &body).into(),
        Err(error) => error,
    }
}

async fn read_body(response: &mut Response) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let content_length = response
        .content_length()
        .and_then(|len| len.try_into().ok());
    if content_length.unwrap_or(0) > MAX_LEN {
        return Err(ClientError::Decode("at most 1 MiB"));
    }
    // Reserves the capacity for the whole body. A buffer that grows would be copied, and the old
    // buffer, which may contain secrets, would be freed without being zeroized.
    let mut body = Zeroizing::new(Vec::with_capacity(content_length.unwrap_or(0)));
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_LEN {
            return Err(ClientError::Decode("at most 1 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

impl SuccessResponse {
    /// Creates an empty response. This is the response of a delete call if a retry finds no session
    /// and an earlier attempt may have ended the session.
    pub(crate) fn empty() -> Self {
        Self {
            headers: HeaderMap::new(),
            body: Zeroizing::default(),
        }
    }

    /// Reads a whole response into memory. Returns [`ClientError::Problem`] if the status is not
    /// 2xx, and [`ClientError::Decode`] if the body is longer than [`MAX_LEN`].
    pub(crate) async fn read(mut response: Response) -> Result<Self, ClientError> {
        let status = response.status();
        let body = read_body(&mut response).await?;
        let headers = std::mem::take(response.headers_mut());
        if status.is_success() {
            Ok(Self { headers, body })
        } else {
            Err(Problem::read(status, &headers, &body).into())
        }
    }

    /// Parses the body as JSON. `expected` describes the expected content in the error message, for
    /// example `a session`.
    pub(crate) fn decode<T: DeserializeOwned>(
        &self,
        expected: &'static str,
    ) -> Result<T, ClientError> {
        // The error of serde is dropped, because its text may quote secrets from the body.
        serde_json::from_slice(&self.body).map_err(|_| ClientError::Decode(expected))
    }

    pub(crate) fn etag(&self) -> Option<ETag> {
        self.headers.get(ETAG)?.to_str().ok()?.parse().ok()
    }
}
