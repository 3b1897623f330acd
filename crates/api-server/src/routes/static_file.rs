//! Files that are the same for everybody for as long as the process runs.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETag, EntityTag, IfNoneMatch},
    },
    web::Bytes,
};
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// A file to serve. Clients may keep it, and ask each time whether it is still the same: of one
/// that is they are told no more than that.
pub(crate) struct StaticFile {
    content_type: &'static str,
    is_gzip: bool,
    content: Bytes,
    etag: EntityTag,
}

impl StaticFile {
    pub(crate) fn new(content_type: &'static str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let hash = digest::digest(&digest::SHA256, &content);
        Self {
            content_type,
            is_gzip: false,
            etag: EntityTag::new_strong(URL_SAFE_NO_PAD.encode(hash)),
            content,
        }
    }

    /// One that is packed already. Whoever comes without `Accept-Encoding: gzip` gets it packed
    /// all the same: every browser takes it (RFC 9110, section 12.5.3).
    pub(crate) fn gzip(content_type: &'static str, packed: &'static [u8]) -> Self {
        Self {
            is_gzip: true,
            ..Self::new(content_type, packed)
        }
    }

    pub(crate) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let is_known = match request.get_header() {
            Some(IfNoneMatch::Any) => true,
            Some(IfNoneMatch::Items(known)) => known.iter().any(|tag| tag.weak_eq(&self.etag)),
            None => false,
        };
        let mut response = HttpResponse::Ok();
        response
            .insert_header(ETag(self.etag.clone()))
            .insert_header((CACHE_CONTROL, "no-cache"));
        if is_known {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response.insert_header((CONTENT_TYPE, self.content_type));
        if self.is_gzip {
            response.insert_header((CONTENT_ENCODING, "gzip"));
        }
        response.body(self.content.clone())
    }
}
