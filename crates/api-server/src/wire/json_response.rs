//! Responses with a JSON body.

use actix_web::{
    HttpResponse,
    error::ErrorInternalServerError,
    http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Initial capacity of the buffer for a response body, in bytes. Most response bodies fit without
/// another allocation.
pub(super) const USUAL_LEN: usize = 512;

/// Builds a response with status 200 and a JSON body that caches must not store.
pub(crate) fn ok(body: &impl Serialize) -> HttpResponse {
    let mut json = Vec::with_capacity(USUAL_LEN);
    let written = serde_json::to_writer(&mut json, body);
    ok_json(written.map(|()| json))
}

/// Builds a response with status 200 from a JSON body that is already serialized. If the
/// serialization failed, builds a response with status 500.
pub(super) fn ok_json(json: serde_json::Result<Vec<u8>>) -> HttpResponse {
    match json {
        Ok(json) => HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, JSON))
            .insert_header((CACHE_CONTROL, NO_STORE))
            .body(json),
        Err(error) => HttpResponse::from_error(ErrorInternalServerError(error)),
    }
}
