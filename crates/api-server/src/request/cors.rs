//! Which pages of other sites a browser lets use the API (CORS, <https://fetch.spec.whatwg.org>).

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

/// A browser may remember the answer to a preflight for so long: the longest that all heed.
const PREFLIGHT_MAX_AGE_SECONDS: usize = 600;

/// Origins whose pages may call the API from a browser; none by default, so that none may.
///
/// Parsed from origins as browsers send them, separated by commas. There is no way to allow
/// every origin.
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

    /// Answers preflights of these origins' pages and lets them see answers. Bearer tokens are no
    /// ambient credentials, so cookies and the like are not allowed.
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
            .allowed_header("x-request-id")
            .expose_headers([ETAG, RETRY_AFTER, WWW_AUTHENTICATE])
            .expose_headers(["traceresponse", "x-request-id"])
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

/// What is compared byte for byte must be spelled as browsers spell it.
fn origin(entry: &str) -> Result<String, InvalidOrigin> {
    let url = Url::parse(entry).map_err(|_| InvalidOrigin)?;
    let is_web = matches!(url.scheme(), "http" | "https");
    if is_web && url.origin().ascii_serialization() == entry {
        Ok(entry.to_owned())
    } else {
        Err(InvalidOrigin)
    }
}

/// An entry is no origin. `Display` says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be origins as browsers send them, such as https://app.golf.example, without a path")]
pub struct InvalidOrigin;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::star("*")]
    #[case::null("null")]
    #[case::no_scheme("app.golf.example")]
    #[case::path("https://app.golf.example/")]
    #[case::default_port("https://app.golf.example:443")]
    #[case::upper_case("https://App.golf.example")]
    #[case::unicode("https://bücher.example")]
    #[case::not_web("ftp://app.golf.example")]
    #[case::one_of_several("https://app.golf.example,x")]
    fn what_no_browser_sends_is_refused(#[case] text: &str) {
        assert_eq!(text.parse::<AllowedOrigins>(), Err(InvalidOrigin));
    }
}
