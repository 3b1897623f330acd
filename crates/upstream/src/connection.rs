//! A connection to a site, on which one request is sent at a time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    task::{AbortHandle, spawn},
    time::{Instant, timeout},
};

use crate::{
    error::{FailedReason, UpstreamError},
    observer::OpenConnection,
    site_stream::{HeadBudget, SiteStream},
};

/// Maximum size of the head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1_024;

/// Maximum number of header fields of an answer.
const MAX_FIELDS: usize = 100;

/// Maximum time after an answer until the connection is ready for the next request.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) type HttpRequest = Request<Full<Bytes>>;

/// A connection to a site. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    budget: Arc<HeadBudget>,
    task: AbortHandle,
    time_to_head: Duration,
    pub(crate) observed: Option<OpenConnection>,
}

/// Error of a request to which no answer was received.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The connection closed before any part of the request was written to it. Contains the
    /// request, which can be sent on another connection.
    NotStarted(Box<HttpRequest>),
    /// The request was written to the connection, at least in part.
    Failed(UpstreamError),
}

impl Connection {
    pub(crate) async fn start(
        stream: SiteStream,
        budget: Arc<HeadBudget>,
    ) -> Result<Self, hyper::Error> {
        let handshake = Builder::new()
            // Header names are written in the usual spelling, such as `Content-Type`, because some
            // old servers compare names with case.
            .title_case_headers(true)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_header_size(MAX_HEAD_BYTES)
            .max_headers(MAX_FIELDS)
            .handshake(TokioIo::new(stream));
        // This handshake only sets up hyper. For HTTP/1.1, it sends nothing.
        let (sender, connection) = handshake.await?;
        let task = spawn(async move {
            // The error is ignored here, because the request that waits for an answer gets the
            // error too.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            budget,
            task: task.abort_handle(),
            time_to_head: Duration::ZERO,
            observed: None,
        })
    }

    /// Returns `true` if the connection is known to be closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed() || !self.sender.is_ready()
    }

    /// Returns the time from the start of the last request to the head of its answer.
    pub(crate) fn time_to_head(&self) -> Duration {
        self.time_to_head
    }

    /// Waits until the connection is ready for the next request. Returns `false` if the connection
    /// closes or is not ready in time.
    pub(crate) async fn is_reusable(&mut self) -> bool {
        matches!(
            timeout(READY_TIMEOUT, self.sender.ready()).await,
            Ok(Ok(()))
        )
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// If the connection closes while the request is still in hyper's queue, hyper returns the
    /// request. After every other error, hyper has written at least the head of the request into
    /// the buffer of the connection, so a part of the request may have been sent.
    pub(crate) async fn send(
        &mut self,
        request: HttpRequest,
        response_timeout: Duration,
    ) -> Result<Response<Incoming>, NoAnswer> {
        self.budget.expect_head();
        let sent = Instant::now();
        let answered = timeout(response_timeout, self.sender.try_send_request(request)).await;
        self.budget.head_received();
        self.time_to_head = sent.elapsed();
        match answered {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut error)) => Err(match error.take_message() {
                Some(request) => NoAnswer::NotStarted(Box::new(request)),
                None => {
                    let reason = FailedReason::Head(Arc::new(error.into_error()));
                    NoAnswer::Failed(reason.into())
                }
            }),
            Err(_) => Err(NoAnswer::Failed(UpstreamError::ResponseTimeout)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Without the abort, hyper would read the rest of an abandoned answer.
        self.task.abort();
    }
}
