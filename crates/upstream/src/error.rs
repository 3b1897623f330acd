//! Errors of exchanges with a site.

use std::{error::Error as StdError, fmt, sync::Arc};

use http::HeaderValue;
use thiserror::Error;

use crate::{
    addresses::ForbiddenAddress,
    connect_error::ConnectError,
    exchange_limits::{Busy, Place},
};

/// Shows whether a site may have received a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No part of the request was sent. The request can be repeated without a risk.
    NotSent,
    /// The site may have received the request and may have carried it out.
    Unknown,
}

impl Outcome {
    /// Returns the name of the outcome in problem details: `not_sent` or `unknown`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reason why the gateway is not allowed to call a site.
pub type NotAllowed = ForbiddenAddress;

/// Error of an exchange. [`outcome`](Self::outcome) shows whether the site may have carried out the
/// request.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The gateway is not allowed to call the site.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// A limit on concurrent exchanges was reached, and no permit was available in time.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// No connection to the site could be established.
    #[error("no connection to the site could be made")]
    Unreachable(#[source] Arc<ConnectError>),
    /// No connection to the site could be established in time.
    #[error("no connection to the site could be made in time")]
    ConnectTimeout,
    /// The site did not send the head of its answer in time.
    #[error("the site did not answer in time")]
    ResponseTimeout,
    /// The site closed the connection, or its answer cannot be passed on.
    #[error("the site gave no usable answer")]
    Failed(#[from] FailedReason),
}

impl UpstreamError {
    /// Returns [`Outcome::NotSent`] only if no byte of the request was written to a connection.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NotAllowed(_) | Self::Busy(_) | Self::Unreachable(_) | Self::ConnectTimeout => {
                Outcome::NotSent
            }
            Self::ResponseTimeout | Self::Failed(_) => Outcome::Unknown,
        }
    }
}

impl From<ConnectError> for UpstreamError {
    fn from(error: ConnectError) -> Self {
        Self::Unreachable(Arc::new(error))
    }
}

/// Error of [`Client::send`](crate::Client::send).
#[derive(Debug)]
pub struct SendError {
    /// Reason why the request failed.
    pub error: UpstreamError,
    /// Cookies and date of the site's answer, if there is an answer that cannot be passed on.
    pub refused: Option<Box<RefusedAnswer>>,
}

impl SendError {
    pub(crate) fn with_refused_answer(reason: FailedReason, answer: RefusedAnswer) -> Self {
        Self {
            error: reason.into(),
            refused: Some(Box::new(answer)),
        }
    }
}

impl From<UpstreamError> for SendError {
    fn from(error: UpstreamError) -> Self {
        Self {
            error,
            refused: None,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for SendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}

/// Answer of a site that cannot be passed on to the client. The site has carried out the request,
/// so the cookies of the answer belong to the session. The permit of the exchange is released when
/// this value is dropped.
pub struct RefusedAnswer {
    /// Values of the `Set-Cookie` header fields of the answer, in their order.
    pub set_cookie: Vec<HeaderValue>,
    /// Value of the header field `Date` of the answer.
    pub date: Option<HeaderValue>,
    pub(crate) _place: Place,
}

/// Shows no cookies of the answer.
impl fmt::Debug for RefusedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedAnswer")
            .field("set_cookie", &self.set_cookie.len())
            .finish_non_exhaustive()
    }
}

/// Reason why a request that was sent has no answer that can be passed on.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum FailedReason {
    /// The connection closed before the whole head of the answer was received, or the head is
    /// malformed, larger than 64 KiB or has more than 100 fields.
    #[error("the head of the answer is missing or malformed")]
    Head(#[source] Arc<hyper::Error>),
    /// The site switched to another protocol (status 101), although the request did not ask for a
    /// switch.
    #[error("the site changed the protocol")]
    ProtocolChange,
    /// The answer has a transfer coding other than `chunked`.
    #[error("the answer has a transfer coding that is not supported")]
    TransferCoding,
    /// The exchange was cancelled before the answer was received, because its worker stops.
    #[error("the exchange was given up")]
    GivenUp,
    /// The `Content-Length` of the answer exceeds the maximum length.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// Maximum length of an answer, in bytes.
        limit: u64,
    },
}
