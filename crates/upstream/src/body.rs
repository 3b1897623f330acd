//! Body of a site's answer, as a stream.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hyper::body::{Body, Incoming};
use thiserror::Error;
use tokio::{
    task::spawn,
    time::{Instant, Sleep, sleep, timeout_at},
};

use crate::{connection::Connection, exchange_limits::Place, pool::Pool, site::Site};

/// Error while the body of an answer is read. The body is incomplete, so the connection to the
/// client must be closed without a regular end of the body.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The site closed the connection before the end of the body, or the framing of the body is
    /// malformed.
    #[error("the body of the answer broke off")]
    Broken(#[source] Arc<hyper::Error>),
    /// The site sent no byte of the body for the duration of the stall timeout.
    #[error("the site did not send the rest of the answer's body in time")]
    Stalled,
    /// The body is longer than the maximum length of an answer's body.
    #[error("the body of the answer is longer than {limit} bytes")]
    TooLong {
        /// Maximum length of the body, in bytes.
        limit: u64,
    },
}

/// Returns the connection to the pool when the whole body has been read.
pub(crate) struct Reuse {
    pub(crate) connection: Connection,
    pub(crate) pool: Arc<Pool>,
    pub(crate) site: Site,
    /// Time for which the site keeps the idle connection open, from its `Keep-Alive` header field.
    pub(crate) announced: Option<Duration>,
    pub(crate) is_allowed: bool,
}

/// Body of an answer, as a stream. Bytes are read from the site only when the caller asks for them.
/// If the stream is dropped before the end of the body, the connection to the site is closed.
pub struct SiteBody {
    incoming: Incoming,
    received: u64,
    limit: Option<u64>,
    stall_timeout: Duration,
    stalled: Pin<Box<Sleep>>,
    is_waiting: bool,
    /// Chunks that [`read_ahead`](Self::read_ahead) has read and the caller has not received yet.
    read_ahead: VecDeque<Result<Bytes, BodyError>>,
    /// Handle that returns the connection to the pool at the end of the body. `None` after the
    /// end of the body.
    reuse: Option<Reuse>,
    /// Permit of the exchange. The permit is released when the caller has received the end of the
    /// body or drops the body. By then, the cookies of the answer are stored, so the next exchange
    /// of the session loads them.
    place: Option<Place>,
}

impl SiteBody {
    pub(crate) fn new(
        incoming: Incoming,
        reuse: Reuse,
        place: Place,
        limit: Option<u64>,
        stall_timeout: Duration,
    ) -> Self {
        let mut body = Self {
            incoming,
            received: 0,
            limit,
            stall_timeout,
            stalled: Box::pin(sleep(stall_timeout)),
            is_waiting: false,
            read_ahead: VecDeque::new(),
            reuse: Some(reuse),
            place: Some(place),
        };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// Returns the length of the whole body in bytes. Returns `None` if the site has not announced
    /// the length.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        self.incoming
            .size_hint()
            .exact()
            .map(|left| left + self.received)
    }

    /// Returns `true` if the body is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Returns the next chunk of the body, or `None` at the end of the body.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.next().await
    }

    /// Reads the first bytes of the body and returns a copy of at most `limit` bytes. The stream
    /// still yields these bytes to the caller. If an error occurs, the reading ends, and the stream
    /// yields the error after these bytes.
    ///
    /// Takes at most the stall timeout.
    pub(crate) async fn read_ahead(&mut self, limit: usize) -> Vec<u8> {
        let until = Instant::now() + self.stall_timeout;
        let mut start = Vec::new();
        while start.len() < limit {
            let next = poll_fn(|cx| self.poll_site(cx));
            match timeout_at(until, next).await {
                Ok(Some(Ok(part))) => {
                    let room = limit - start.len();
                    start.extend_from_slice(&part[..part.len().min(room)]);
                    self.read_ahead.push_back(Ok(part));
                }
                Ok(Some(Err(error))) => {
                    self.read_ahead.push_back(Err(error));
                    break;
                }
                Ok(None) | Err(_) => break,
            }
        }
        // Stops the stall timeout. It begins again when the caller reads the stream.
        self.is_waiting = false;
        start
    }

    fn finish(&mut self) {
        let Some(mut reuse) = self.reuse.take().filter(|reuse| reuse.is_allowed) else {
            return;
        };
        spawn(async move {
            if reuse.connection.is_reusable().await {
                reuse
                    .pool
                    .put(reuse.site, reuse.connection, reuse.announced);
            }
        });
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.reuse = None;
        Poll::Ready(Some(Err(error)))
    }

    /// Reads the next chunk from the site.
    fn poll_site(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if self.reuse.is_none() {
                return Poll::Ready(None);
            }
            let frame = match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    // The stall timeout runs only while the caller waits for the site.
                    if !self.is_waiting {
                        self.is_waiting = true;
                        let until = Instant::now() + self.stall_timeout;
                        self.stalled.as_mut().reset(until);
                    }
                    ready!(self.stalled.as_mut().poll(cx));
                    return self.fail(BodyError::Stalled);
                }
            };
            self.is_waiting = false;
            match frame {
                // Trailer fields are not passed on.
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    self.received += data.len() as u64;
                    if let Some(limit) = self.limit.filter(|limit| self.received > *limit) {
                        return self.fail(BodyError::TooLong { limit });
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Some(Err(error)) => return self.fail(BodyError::Broken(Arc::new(error))),
                None => self.finish(),
            }
        }
    }
}

impl Stream for SiteBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = match self.read_ahead.pop_front() {
            Some(part) => Some(part),
            None => ready!(self.poll_site(cx)),
        };
        if !matches!(next, Some(Ok(_))) {
            self.place = None;
        }
        Poll::Ready(next)
    }
}

/// Shows only the number of bytes that were received.
impl fmt::Debug for SiteBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SiteBody({} bytes received)", self.received)
    }
}
