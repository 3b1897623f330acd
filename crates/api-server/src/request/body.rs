//! Reads request bodies. The media type, the size and the arrival time of a body are checked before
//! the body is parsed. The credential of the request must be checked before its body is read.

use std::{future::poll_fn, sync::Arc, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH},
    web::{Bytes, BytesMut, Data, Payload},
};
use futures_util::{StreamExt, future::poll_immediate};
use metrics::counter;
use tokio::{
    task::yield_now,
    time::{Instant, timeout},
};

use crate::{
    problem::ApiError,
    request::bodies_under_way::{BodiesUnderWay, Body, Credential},
    request::deadline::Deadline,
    server::connection::Connection,
    server::drain::Lifecycle,
    settings::ApiSettings,
};

/// Maximum time for a complete request body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time for a complete request body to arrive, if the body is passed on to a site. The time
/// is longer, because such a body may be large.
const LONG_BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Accepted media types of a request body. Also contains the error detail for a body of another
/// media type.
pub(crate) struct BodyType {
    media_types: &'static [&'static str],
    pub(crate) rejection: &'static str,
}

pub(crate) const JSON: BodyType = BodyType {
    media_types: &["application/json"],
    rejection: "The request body must be application/json in UTF-8",
};

pub(crate) const MERGE_PATCH: BodyType = BodyType {
    // Many HTTP clients send every JSON body as `application/json`.
    media_types: &["application/merge-patch+json", "application/json"],
    rejection: "The request body must be application/merge-patch+json or application/json, in UTF-8",
};

pub(crate) const FORM: BodyType = BodyType {
    media_types: &["application/x-www-form-urlencoded"],
    rejection: "The request body must be application/x-www-form-urlencoded in UTF-8",
};

/// Reads a JSON request body. `caller` is the credential of the request. It must already be
/// checked.
pub(crate) async fn read_json(
    request: &HttpRequest,
    payload: Payload,
    settings: &ApiSettings,
    caller: Credential,
) -> Result<Bytes, ApiError> {
    read(request, payload, settings, caller, &JSON).await
}

/// Reads a request body that contains a JSON Merge Patch (RFC 7396). `caller` is the credential of
/// the request. It must already be checked.
pub(crate) async fn read_merge_patch(
    request: &HttpRequest,
    payload: Payload,
    settings: &ApiSettings,
    caller: Credential,
) -> Result<Bytes, ApiError> {
    let body = read(request, payload, settings, caller, &MERGE_PATCH).await;
    body.map_err(|error| match error {
        ApiError::UnsupportedMediaType(detail) => ApiError::UnsupportedPatch(detail),
        error => error,
    })
}

/// Reads a URL-encoded form from the request body. `caller` is the credential of the request. It
/// must already be checked.
pub(crate) async fn read_form(
    request: &HttpRequest,
    payload: Payload,
    settings: &ApiSettings,
    caller: Credential,
) -> Result<Bytes, ApiError> {
    read(request, payload, settings, caller, &FORM).await
}

async fn read(
    request: &HttpRequest,
    payload: Payload,
    settings: &ApiSettings,
    caller: Credential,
    body_type: &BodyType,
) -> Result<Bytes, ApiError> {
    check_type(request, body_type)?;
    let lifecycle = request.app_data::<Data<Arc<Lifecycle>>>();
    let _awaiting = lifecycle.map(|lifecycle| lifecycle.awaiting_body());
    read_within(
        request,
        payload,
        settings.max_body_bytes,
        BODY_TIMEOUT,
        caller,
    )
    .await
}

/// Reads a request body that will be passed on to a site. The body may have any media type, and at
/// most `limit` bytes. `caller` is the credential of the request. It must already be checked.
pub(crate) async fn read_any(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    caller: Credential,
) -> Result<Bytes, ApiError> {
    read_within(request, payload, limit, LONG_BODY_TIMEOUT, caller).await
}

async fn read_within(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    max_duration: Duration,
    caller: Credential,
) -> Result<Bytes, ApiError> {
    let content_length = request.headers().get(CONTENT_LENGTH);
    let content_length: Option<u64> = content_length
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse().ok());
    if content_length.is_some_and(|length| length > limit as u64) {
        return Err(ApiError::PayloadTooLarge { limit });
    }
    let started = Instant::now();
    let bodies = request.app_data::<Data<Arc<BodiesUnderWay>>>();
    let count = |bytes| match bodies {
        Some(bodies) => bodies.begin(caller, bytes).map(Some).ok_or_else(overloaded),
        None => Ok(None),
    };
    let connection = request.conn_data::<Connection>();
    if let Some(connection) = connection {
        connection.expect_body();
    }
    let body = collect(payload, content_length, limit, connection, count);
    let body = timeout(max_duration, body)
        .await
        .map_err(|_| ApiError::RequestTimeout)??;
    // For an upgrade request, the framework treats all bytes up to the end of the connection as the
    // body. Such a body is therefore never marked as read.
    if !request.head().upgrade()
        && let Some(connection) = connection
    {
        connection.set_body_read();
    }
    Deadline::extend(request, started.elapsed());
    Ok(body)
}

fn check_type(request: &HttpRequest, body_type: &BodyType) -> Result<(), ApiError> {
    let mime = request.mime_type().ok().flatten();
    let is_supported = mime.is_some_and(|mime| {
        let charset = mime.get_param(mime::CHARSET);
        body_type.media_types.contains(&mime.essence_str())
            && charset.is_none_or(|charset| charset == mime::UTF_8)
    });
    if !is_supported {
        return Err(ApiError::UnsupportedMediaType(body_type.rejection));
    }
    let mut encodings = request.headers().get_all(CONTENT_ENCODING);
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::UnsupportedMediaType(
            "Compressed request bodies are not supported",
        ));
    }
    Ok(())
}

/// Collects the chunks of a request body until the body ends or `content_length` bytes have
/// arrived. Fails if the body is longer than `limit` bytes. The check of `content_length` is needed
/// for upgrade requests: the framework passes on everything that arrives on the connection of such
/// a request.
///
/// Before it first waits for more bytes, calls `count` with the number of bytes that have arrived.
/// `count` registers the body as still arriving, or returns an error if there are too many such
/// bodies. In that case, `collect` fails with the same error.
async fn collect(
    mut payload: Payload,
    content_length: Option<u64>,
    limit: usize,
    connection: Option<&Connection>,
    count: impl FnOnce(usize) -> Result<Option<Body>, ApiError>,
) -> Result<Bytes, ApiError> {
    let (mut body, mut count, mut under_way) = (BytesMut::new(), Some(count), None::<Body>);
    while content_length.is_none_or(|length| (body.len() as u64) < length) {
        let mut next = poll_fn(|cx| {
            let polled = payload.poll_next_unpin(cx);
            // The bytes that have arrived may contain only chunked framing and no body bytes.
            if polled.is_pending()
                && let Some(connection) = connection
            {
                connection.await_body();
            }
            polled
        });
        let mut chunk = poll_immediate(&mut next).await;
        if chunk.is_none() && count.is_some() {
            // The framework calls a handler before it decodes the body, even if the body has
            // arrived together with the head. After a yield, the body is decoded. If `ClientStream`
            // has withheld bytes, the framework polls the handler twice before it reads these
            // bytes.
            yield_now().await;
            if connection.is_some_and(Connection::is_withholding) {
                yield_now().await;
            }
            chunk = poll_immediate(&mut next).await;
        }
        let chunk = match chunk {
            Some(chunk) => chunk,
            None => {
                if let Some(count) = count.take() {
                    under_way = count(body.len())?;
                }
                next.await
            }
        };
        let Some(chunk) = chunk else { break };
        let mut chunk = chunk.map_err(|_| {
            let detail = "The request body is incomplete, or its chunked encoding is malformed";
            ApiError::InvalidRequest(detail.to_owned())
        })?;
        if let Some(length) = content_length {
            // The remaining bytes belong to the next request.
            let rest = usize::try_from(length).unwrap_or(usize::MAX) - body.len();
            chunk.truncate(rest);
        }
        if body.len() + chunk.len() > limit {
            return Err(ApiError::PayloadTooLarge { limit });
        }
        if under_way
            .as_mut()
            .is_some_and(|body| !body.received(chunk.len()))
        {
            return Err(overloaded());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Increments the counter of rejected requests, and returns [`ApiError::Overloaded`].
pub(crate) fn overloaded() -> ApiError {
    counter!("tee_session_requests_shed_total").increment(1);
    ApiError::Overloaded
}
