//! The bearer token: the one secret that a client holds.

use std::{fmt, str::FromStr};

use arrayvec::ArrayString;
use thiserror::Error;
use uuid::{Uuid, Variant, Version};

/// Bytes of the longest canonical token text.
const MAX_TOKEN_LEN: usize = 36;

/// Characters of a token that may stand in a log.
const PREFIX_LEN: usize = 8;

/// An opaque bearer token: a random (version 4) UUID in its one canonical spelling, lower-case
/// and hyphenated.
///
/// The token is a secret. It has no `Display`, its `Debug` shows nothing of it, and only
/// [`expose_secret`](Self::expose_secret) gives its text. For logs there is
/// [`prefix`](Self::prefix), for URLs and operators [`SessionId`](crate::SessionId).
///
/// ```
/// use tee_session_domain::SessionToken;
///
/// let token = SessionToken::generate();
/// let same: SessionToken = token.expose_secret().parse()?;
/// assert_eq!(token, same);
/// assert_eq!(format!("{token:?}"), "SessionToken([redacted])");
/// # Ok::<(), tee_session_domain::ParseTokenError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionToken(ArrayString<MAX_TOKEN_LEN>);

impl SessionToken {
    /// Makes a new token from 122 bits of the operating system's random source (RFC 9562,
    /// version 4).
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that makes tokens"
    )]
    pub fn generate() -> Self {
        let mut text = ArrayString::new();
        text.push_str(
            Uuid::new_v4()
                .hyphenated()
                .encode_lower(&mut Uuid::encode_buffer()),
        );
        Self(text)
    }

    /// The token's canonical text: what a client sends, and nobody else may see.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }

    /// The first eight characters, which logs may show.
    #[must_use]
    pub fn prefix(&self) -> TokenPrefix {
        let mut prefix = ArrayString::new();
        for character in self.0.chars().take(PREFIX_LEN) {
            prefix.push(character);
        }
        TokenPrefix(prefix)
    }
}

impl FromStr for SessionToken {
    type Err = ParseTokenError;

    /// Accepts the canonical spelling of a version 4 UUID and nothing else: no upper case, no
    /// braces, no URN, so that one session has one spelling everywhere.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let canonical = ArrayString::from(text).map_err(|_| ParseTokenError)?;
        let uuid = Uuid::try_parse(text).map_err(|_| ParseTokenError)?;
        let is_random =
            uuid.get_version() == Some(Version::Random) && uuid.get_variant() == Variant::RFC4122;
        let mut buffer = Uuid::encode_buffer();
        let is_canonical = uuid.hyphenated().encode_lower(&mut buffer) == text;
        if is_random && is_canonical {
            Ok(Self(canonical))
        } else {
            Err(ParseTokenError)
        }
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken([redacted])")
    }
}

/// The first eight characters of a token: enough to follow a session through the logs, too
/// little to use it (90 of 122 random bits stay hidden).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenPrefix(ArrayString<PREFIX_LEN>);

impl fmt::Display for TokenPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TokenPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenPrefix({self})")
    }
}

/// The text is not a session token. It says nothing about the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a session token in its canonical spelling")]
pub struct ParseTokenError;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rstest::rstest;

    use super::*;

    const TOKEN: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

    #[test]
    fn a_generated_token_is_a_canonical_version_4_uuid_and_never_repeats() {
        let tokens: HashSet<_> = (0..1_000).map(|_| SessionToken::generate()).collect();
        assert_eq!(tokens.len(), 1_000);
        for token in &tokens {
            assert_eq!(token.expose_secret().parse(), Ok(token.clone()));
        }
    }

    #[test]
    fn the_prefix_is_the_first_eight_characters() {
        let token: SessionToken = TOKEN.parse().unwrap();
        assert_eq!(token.prefix().to_string(), "1b9d6bcd");
    }

    #[test]
    fn debug_shows_nothing_of_the_token() {
        let token: SessionToken = TOKEN.parse().unwrap();
        assert_eq!(format!("{token:?}"), "SessionToken([redacted])");
    }

    #[rstest]
    #[case::empty("")]
    #[case::one_short("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4be")]
    #[case::one_long("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bedd")]
    #[case::upper_case("1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED")]
    #[case::simple("1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed")]
    #[case::braced("{1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed}")]
    #[case::urn("urn:uuid:1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::not_hexadecimal("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4beg")]
    #[case::hyphens_moved("1b9d6bcdb-bfd-4b2d-9b5d-ab8dfbbd4bed")]
    #[case::all_zeros("00000000-0000-0000-0000-000000000000")]
    #[case::all_ones("ffffffff-ffff-ffff-ffff-ffffffffffff")]
    #[case::version_1("1b9d6bcd-bbfd-1b2d-9b5d-ab8dfbbd4bed")]
    #[case::foreign_variant("1b9d6bcd-bbfd-4b2d-cb5d-ab8dfbbd4bed")]
    #[case::leading_space(" 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4be")]
    #[case::full_width_digits("１b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4b")]
    #[case::nul_at_the_end("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4be\0")]
    #[case::glob("session:*")]
    fn refuses_any_other_text(#[case] text: &str) {
        assert_eq!(text.parse::<SessionToken>(), Err(ParseTokenError));
    }
}
