//! Challenges: what `WWW-Authenticate` says (RFC 6750, section 3; RFC 7617).

use actix_web::http::header::HeaderValue;

/// The protection space that every challenge names.
pub const REALM: &str = "tee-session";

/// The value of a `WWW-Authenticate` header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Challenge {
    /// A bearer token is wanted. No error code: there was nothing to judge.
    Bearer,
    /// The bearer token is no good.
    InvalidToken,
    /// The request's credentials cannot be read.
    InvalidRequest,
    /// A service client's name and secret are wanted.
    Basic,
}

impl Challenge {
    /// The field's value.
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
    fn every_challenge_names_the_realm_once() {
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
