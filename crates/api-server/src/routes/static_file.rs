//! Responses to requests for files that do not change while the process runs.

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

/// A file that is served from memory. Clients may cache the file but must revalidate it before each
/// use. A conditional request for an unchanged file is answered with 304.
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

    /// Creates a file from `packed`, content that is already compressed with gzip.
    ///
    /// The content is sent compressed even if the request has no `Accept-Encoding: gzip`, because
    /// every browser accepts gzip. RFC 9110, section 12.5.3 allows this.
    pub(crate) fn gzip(content_type: &'static str, packed: &'static [u8]) -> Self {
        Self {
            is_gzip: true,
            ..Self::new(content_type, packed)
        }
    }

    pub(crate) fn respond(&self, request: &HttpRequest) -> HttpResponse {
        // The lenient parser of the framework is sufficient here, because a wrong result only sends
        // a file again. Conditions on sessions are parsed strictly (`request/precondition.rs`).
        let is_unchanged = match request.get_header() {
            Some(IfNoneMatch::Any) => true,
            Some(IfNoneMatch::Items(known)) => known.iter().any(|tag| tag.weak_eq(&self.etag)),
            None => false,
        };
        let mut response = HttpResponse::Ok();
        response
            .insert_header(ETag(self.etag.clone()))
            .insert_header((CACHE_CONTROL, "no-cache"));
        if is_unchanged {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response.insert_header((CONTENT_TYPE, self.content_type));
        if self.is_gzip {
            response.insert_header((CONTENT_ENCODING, "gzip"));
        }
        response.body(self.content.clone())
    }
}
