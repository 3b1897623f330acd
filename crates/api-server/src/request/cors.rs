//! Origins whose pages may call the API from a browser (CORS, <https://fetch.spec.whatwg.org>).

use std::str::FromStr;

use actix_cors::{Cors, CorsError};
use actix_web::http::{
    Method,
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
        ALLOW, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
        IF_NONE_MATCH, LOCATION, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
    },
};
use thiserror::Error;
use url::Url;

/// Time, in seconds, for which browsers may cache the response to a CORS preflight. This is the
/// longest time that all browsers support.
const PREFLIGHT_MAX_AGE_SECONDS: usize = 600;

/// Request headers that pages may set, in addition to the headers that browsers always allow.
const ALLOWED_HEADERS: [HeaderName; 8] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    IF_MATCH,
    IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-request-id"),
];

/// Response headers that pages may read, in addition to the headers that browsers always expose.
const EXPOSED_HEADERS: [HeaderName; 9] = [
    HeaderName::from_static("accept-patch"),
    ALLOW,
    ETAG,
    HeaderName::from_static("idempotency-replayed"),
    LOCATION,
    RETRY_AFTER,
    HeaderName::from_static("traceresponse"),
    WWW_AUTHENTICATE,
    HeaderName::from_static("x-request-id"),
];

/// Origins whose pages may call the API from a browser. The default is no origin.
///
/// The value is parsed from a comma-separated list of origins. Each origin must be written as
/// browsers send it. A wildcard for all origins is not supported.
///
/// ```
/// use tee_session_api_server::AllowedOrigins;
///
/// let origins: AllowedOrigins = "https://app.golf.example, http://localhost:5173".parse()?;
/// assert!("https://app.golf.example/".parse::<AllowedOrigins>().is_err());
/// # Ok::<(), tee_session_api_server::InvalidOrigin>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedOrigins(Vec<String>);

impl AllowedOrigins {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Builds the middleware that answers CORS preflights and lets pages of the allowed origins
    /// read responses.
    ///
    /// The middleware does not allow credentials that a browser attaches by itself, such as
    /// cookies. A page must set the header `Authorization` with the bearer token.
    pub(crate) fn middleware(&self) -> Cors {
        let cors = Cors::default()
            .allowed_methods([
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PATCH,
                Method::DELETE,
            ])
            .allowed_headers(ALLOWED_HEADERS)
            .expose_headers(EXPOSED_HEADERS)
            .max_age(PREFLIGHT_MAX_AGE_SECONDS);
        self.0
            .iter()
            .fold(cors, |cors, origin| cors.allowed_origin(origin))
    }

    /// Returns the origin of a request, if it is one of the allowed origins.
    pub(crate) fn allowed_origin_of(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(ORIGIN)?;
        let is_allowed = self
            .0
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes());
        is_allowed.then(|| origin.clone())
    }
}

/// Returns `true` if a request is a CORS preflight. A browser sends a preflight to find out whether
/// a page may send another request.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        // The CORS middleware decides in the same way, and passes every other request on.
        && headers
            .get(ACCESS_CONTROL_REQUEST_METHOD)
            .is_some_and(|requested| Method::from_bytes(requested.as_bytes()).is_ok())
}

/// Lets pages of the allowed origin `origin` read an error response that did not pass through the
/// middleware of [`AllowedOrigins`].
pub(crate) fn allow_reading(headers: &mut HeaderMap, origin: HeaderValue) {
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for name in EXPOSED_HEADERS {
        headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from(name));
    }
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

/// Returns the error detail for a preflight that the middleware of [`AllowedOrigins`] refused for
/// the reason `error`.
pub(crate) fn rejection(error: &CorsError) -> &'static str {
    match error {
        CorsError::OriginNotAllowed | CorsError::MissingOrigin => {
            "The origin of the page is not one of cors_allowed_origins"
        }
        CorsError::MethodNotAllowed | CorsError::BadRequestMethod => {
            "Pages of other origins may use the methods GET, HEAD, POST, PATCH and DELETE only"
        }
        CorsError::HeadersNotAllowed | CorsError::BadRequestHeaders => {
            "Pages of other origins may set the headers Authorization, Content-Type, If-Match, \
             If-None-Match, Idempotency-Key, traceparent, tracestate and X-Request-Id only"
        }
        _ => "The CORS preflight is malformed",
    }
}

impl FromStr for AllowedOrigins {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entries = text.split(',').map(str::trim).filter(|e| !e.is_empty());
        entries.map(origin).collect::<Result<_, _>>().map(Self)
    }
}

/// Checks that `entry` is an `http` or `https` origin, and returns `entry`. An origin must be
/// written exactly as browsers send it, because origins are compared byte for byte.
fn origin(entry: &str) -> Result<String, InvalidOrigin> {
    let url = Url::parse(entry).map_err(|_| InvalidOrigin)?;
    let is_web = matches!(url.scheme(), "http" | "https");
    // An origin that a browser sends never contains a wildcard or an empty label, so such an entry
    // would never match.
    let host = url.host_str().unwrap_or_default();
    let is_exact = !host.contains('*') && !host.starts_with('.') && !host.contains("..");
    if is_web && is_exact && url.origin().ascii_serialization() == entry {
        Ok(entry.to_owned())
    } else {
        Err(InvalidOrigin)
    }
}

/// Parse error for [`AllowedOrigins`]: an entry of the list is not an origin as browsers send it.
/// `Display` describes the allowed format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the origins must be written as browsers send them, such as https://app.golf.example, without a \
     path, and without a wildcard in the host"
)]
pub struct InvalidOrigin;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::wildcard("*")]
    #[case::null("null")]
    #[case::no_scheme("app.golf.example")]
    #[case::path("https://app.golf.example/")]
    #[case::default_port("https://app.golf.example:443")]
    #[case::upper_case("https://App.golf.example")]
    #[case::unicode_host("https://bücher.example")]
    #[case::wildcard_subdomain("https://*.golf.example")]
    #[case::all_subdomains("https://.golf.example")]
    #[case::empty_label("https://app..golf.example")]
    #[case::not_http("ftp://app.golf.example")]
    #[case::valid_and_invalid_origin("https://app.golf.example,x")]
    fn text_that_is_not_a_serialized_http_or_https_origin_is_rejected(#[case] text: &str) {
        assert_eq!(text.parse::<AllowedOrigins>(), Err(InvalidOrigin));
    }
}
