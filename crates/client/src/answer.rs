//! An answer of the service, read whole.

use reqwest::{
    Response,
    header::{ETAG, HeaderMap},
};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::{ClientError, ETag, Problem};

/// Bytes of a longest answer. The service's longest, a page of a hundred sessions, has a tenth of it.
const MAX_LEN: usize = 1024 * 1024;

pub(crate) struct Answer {
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// Of a call that turned out to be done.
    pub(crate) fn empty() -> Self {
        Self {
            headers: HeaderMap::new(),
            body: Zeroizing::default(),
        }
    }

    /// Reads what the service says; anything but a success is a problem.
    pub(crate) async fn read(mut response: Response) -> Result<Self, ClientError> {
        let status = response.status();
        let announced = response
            .content_length()
            .and_then(|len| len.try_into().ok());
        if announced.unwrap_or(0) > MAX_LEN {
            return Err(ClientError::Decode("text of at most 1 MiB"));
        }
        // A body that had to grow would leave copies of itself behind.
        let mut body = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(0)));
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_LEN {
                return Err(ClientError::Decode("text of at most 1 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(response.headers_mut());
        if status.is_success() {
            Ok(Self { headers, body })
        } else {
            Err(Problem::read(status, &headers, &body).into())
        }
    }

    /// The body's JSON; `what` names it in an error.
    pub(crate) fn decode<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, ClientError> {
        // What serde says may quote the body.
        serde_json::from_slice(&self.body).map_err(|_| ClientError::Decode(what))
    }

    pub(crate) fn etag(&self) -> Option<ETag> {
        self.headers.get(ETAG)?.to_str().ok()?.parse().ok()
    }
}
