//! Origins whose pages may call the API from a browser (CORS, <https://fetch.spec.whatwg.org>).

use std::str::FromStr;

use actix_cors::Cors;
use actix_web::http::{
    Method,
    header::{
        AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};
use thiserror::Error;
use url::Url;

/// Time, in seconds, for which browsers may cache the response to a CORS preflight. This is the
/// longest time that all browsers support.
const PREFLIGHT_MAX_AGE_SECONDS: usize = 600;

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
            .allowed_headers([AUTHORIZATION, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH])
            .allowed_headers(["idempotency-key", "x-request-id"])
            .expose_headers([ETAG, RETRY_AFTER, WWW_AUTHENTICATE])
            .expose_headers(["idempotency-replayed", "traceresponse", "x-request-id"])
            .max_age(PREFLIGHT_MAX_AGE_SECONDS);
        self.0
            .iter()
            .fold(cors, |cors, origin| cors.allowed_origin(origin))
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
    // A browser sends a wildcard or an empty label in no origin, so such an entry would never
    // match.
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
