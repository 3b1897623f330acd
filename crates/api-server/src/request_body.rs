//! Request bodies: bounded in type, size and time before anything is parsed.

use std::time::Duration;

use actix_web::{
    HttpMessage, HttpRequest,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH},
    web::{Bytes, BytesMut, Payload},
};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use crate::{bounded_stream::Connection, deadline::Deadline, problem::ApiError};

/// A whole body has to arrive within this time; the framework bounds the head only.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a body has to be, and what is said of any other.
pub(crate) struct BodyType {
    pub(crate) media_type: &'static str,
    pub(crate) refusal: &'static str,
}

pub(crate) const JSON: BodyType = BodyType {
    media_type: "application/json",
    refusal: "The request body must be application/json in UTF-8",
};

pub(crate) const MERGE_PATCH: BodyType = BodyType {
    media_type: ApiError::PATCH_TYPE,
    refusal: "The request body must be application/merge-patch+json in UTF-8",
};

pub(crate) const FORM: BodyType = BodyType {
    media_type: "application/x-www-form-urlencoded",
    refusal: "The request body must be application/x-www-form-urlencoded in UTF-8",
};

/// Reads a JSON body of at most `limit` bytes.
pub(crate) async fn read_json(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
) -> Result<Bytes, ApiError> {
    read(request, payload, limit, &JSON).await
}

/// Reads a JSON Merge Patch of at most `limit` bytes (RFC 7396).
pub(crate) async fn read_merge_patch(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let body = read(request, payload, limit, &MERGE_PATCH).await;
    body.map_err(|error| match error {
        ApiError::UnsupportedMediaType(detail) => ApiError::UnsupportedPatch(detail),
        error => error,
    })
}

/// Reads a form of at most `limit` bytes.
pub(crate) async fn read_form(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
) -> Result<Bytes, ApiError> {
    read(request, payload, limit, &FORM).await
}

async fn read(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    body_type: &BodyType,
) -> Result<Bytes, ApiError> {
    check_type(request, body_type)?;
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced: Option<u64> = announced
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(ApiError::PayloadTooLarge { limit });
    }
    let began = Instant::now();
    let body = timeout(BODY_TIMEOUT, collect(payload, announced, limit))
        .await
        .map_err(|_| ApiError::RequestTimeout)??;
    // The body of a request that asks for an upgrade ends with the connection.
    if !request.head().upgrade()
        && let Some(connection) = request.conn_data::<Connection>()
    {
        connection.body_was_read();
    }
    Deadline::put_off(request, began.elapsed());
    Ok(body)
}

fn check_type(request: &HttpRequest, body_type: &BodyType) -> Result<(), ApiError> {
    let mime = request.mime_type().ok().flatten();
    let is_wanted = mime.is_some_and(|mime| {
        let charset = mime.get_param(mime::CHARSET);
        mime.essence_str() == body_type.media_type
            && charset.is_none_or(|charset| charset == mime::UTF_8)
    });
    if !is_wanted {
        return Err(ApiError::UnsupportedMediaType(body_type.refusal));
    }
    let mut encodings = request.headers().get_all(CONTENT_ENCODING);
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::UnsupportedMediaType(
            "Compressed request bodies are not accepted",
        ));
    }
    Ok(())
}

/// Stops at the announced length: of a request that asks for an upgrade the framework gives
/// whatever else comes as well, without an end.
async fn collect(
    mut payload: Payload,
    announced: Option<u64>,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    while announced.is_none_or(|length| (body.len() as u64) < length) {
        let Some(chunk) = payload.next().await else {
            break;
        };
        let chunk = chunk.map_err(|_| {
            ApiError::InvalidRequest("The request body is incomplete or badly framed".to_owned())
        })?;
        if body.len() + chunk.len() > limit {
            return Err(ApiError::PayloadTooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
