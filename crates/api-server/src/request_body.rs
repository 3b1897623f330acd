//! Request bodies: bounded in type, size and time before anything is parsed.

use std::time::Duration;

use actix_web::{
    HttpMessage, HttpRequest,
    http::header::{CONTENT_ENCODING, CONTENT_LENGTH},
    web::{Bytes, BytesMut, Payload},
};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::{bounded_stream::Connection, problem::ApiError};

/// A whole body has to arrive within this time; the framework bounds the head only.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a JSON body of at most `limit` bytes.
pub(crate) async fn read_json(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
) -> Result<Bytes, ApiError> {
    check_type(request)?;
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced: Option<u64> = announced
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(ApiError::PayloadTooLarge { limit });
    }
    let body = timeout(BODY_TIMEOUT, collect(payload, announced, limit))
        .await
        .map_err(|_| ApiError::RequestTimeout)??;
    // The body of a request that asks for an upgrade ends with the connection.
    if !request.head().upgrade()
        && let Some(connection) = request.conn_data::<Connection>()
    {
        connection.body_was_read();
    }
    Ok(body)
}

fn check_type(request: &HttpRequest) -> Result<(), ApiError> {
    const JSON: &str = "The request body must be application/json in UTF-8";
    let mime = request.mime_type().ok().flatten();
    let is_json = mime.is_some_and(|mime| {
        let charset = mime.get_param(mime::CHARSET);
        mime.essence_str() == mime::APPLICATION_JSON.essence_str()
            && charset.is_none_or(|charset| charset == mime::UTF_8)
    });
    if !is_json {
        return Err(ApiError::UnsupportedMediaType(JSON));
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
