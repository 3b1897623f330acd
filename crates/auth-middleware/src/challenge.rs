//! Values of the `WWW-Authenticate` header field (RFC 6750, section 3; RFC 7617).

use actix_web::http::header::HeaderValue;

/// Realm (protection space) in each `WWW-Authenticate` header field that this crate creates.
pub const REALM: &str = "tee-session";

/// A challenge: the value of a `WWW-Authenticate` header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Challenge {
    /// Requires a bearer token. This challenge has no error code, because the request carried no
    /// token.
    Bearer,
    /// Rejects the bearer token with the error code `invalid_token`.
    InvalidToken,
    /// Rejects malformed or repeated credentials with the error code `invalid_request`.
    InvalidRequest,
    /// Requires the id and the secret of a service client (HTTP Basic).
    Basic,
}

impl Challenge {
    /// Returns the challenge as the value of a `WWW-Authenticate` header field.
    #[must_use]
    pub fn header_value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Bearer => r#"Bearer realm="tee-session""#,
            Self::InvalidToken => {
                r#"Bearer realm="tee-session", error="invalid_token", error_description="Invalid or expired session token""#
            }
            Self::InvalidRequest => {
                r#"Bearer realm="tee-session", error="invalid_request", error_description="Malformed or repeated credentials""#
            }
            Self::Basic => r#"Basic realm="tee-session""#,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_challenge_contains_the_realm_once() {
        let realm = format!(r#"realm="{REALM}""#);
        for challenge in [
            Challenge::Bearer,
            Challenge::InvalidToken,
            Challenge::InvalidRequest,
            Challenge::Basic,
        ] {
            let value = challenge.header_value();
            assert_eq!(
                value.to_str().unwrap().matches(&realm).count(),
                1,
                "{value:?}"
            );
        }
    }
}
