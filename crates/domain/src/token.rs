//! Bearer token: the secret with which a client accesses a session.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::OnceLock,
};

use arrayvec::ArrayString;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;
use uuid::{Builder, Uuid, Variant, Version};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{SessionId, TokenHash, hkdf::PseudorandomKey};

/// Length of a UUID token in characters.
const UUID_LEN: usize = 36;

/// Length of an opaque token in characters.
const OPAQUE_LEN: usize = 43;

/// Length of the longest token in characters.
const MAX_TOKEN_LEN: usize = OPAQUE_LEN;

/// Number of random bytes in an opaque token.
const OPAQUE_BYTES: usize = 32;

/// Number of characters at the beginning of a token that logs may show.
const PREFIX_LEN: usize = 8;

/// A bearer token in the canonical spelling of its [`TokenFormat`].
///
/// The token is a secret: there is no `Display`, `Debug` does not show the token, and its memory is
/// wiped on drop. Only [`expose_secret`](Self::expose_secret) returns the text of the token. Use
/// [`prefix`](Self::prefix) in logs, and [`SessionId`](crate::SessionId) in URLs and for operators.
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
#[derive(Clone)]
pub struct SessionToken {
    text: ArrayString<MAX_TOKEN_LEN>,
    // Caches of values that are derived from the token. A request needs each value several times,
    // so the value is computed on first use and then cached.
    hash: OnceLock<TokenHash>,
    id: OnceLock<SessionId>,
    pseudorandom_key: OnceLock<PseudorandomKey>,
}

impl SessionToken {
    /// Generates a token in the default format.
    #[must_use]
    pub fn generate() -> Self {
        Self::generate_as(TokenFormat::default())
    }

    /// Generates a token in the given format, from random bytes of the operating system.
    #[must_use]
    pub fn generate_as(format: TokenFormat) -> Self {
        let mut token = Self::of(ArrayString::new());
        match format {
            TokenFormat::Uuid => {
                let mut buffer = Zeroizing::new(Uuid::encode_buffer());
                let text = random_uuid().hyphenated().encode_lower(&mut *buffer);
                token.text.push_str(text);
            }
            TokenFormat::Opaque => {
                let bytes = Zeroizing::new(random_bytes::<OPAQUE_BYTES>());
                let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
                token.text.push_str(&text);
            }
        }
        token
    }

    fn of(text: ArrayString<MAX_TOKEN_LEN>) -> Self {
        Self {
            text,
            hash: OnceLock::new(),
            id: OnceLock::new(),
            pseudorandom_key: OnceLock::new(),
        }
    }

    /// Returns the hash of the token. The first call computes the hash with `compute` and caches
    /// it.
    pub(crate) fn hash(&self, compute: impl FnOnce() -> TokenHash) -> TokenHash {
        *self.hash.get_or_init(compute)
    }

    /// Returns the session id of the token. The first call derives the id with `derive` and caches
    /// it.
    pub(crate) fn session_id(&self, derive: impl FnOnce() -> SessionId) -> SessionId {
        *self.id.get_or_init(derive)
    }

    /// Returns the pseudorandom key of HKDF, from which the session id and other keys are derived.
    /// The first call computes the key with `extract` and caches it.
    pub(crate) fn pseudorandom_key(
        &self,
        extract: impl FnOnce() -> PseudorandomKey,
    ) -> &PseudorandomKey {
        self.pseudorandom_key.get_or_init(extract)
    }

    /// Caches `id` as the session id of the token. `id` must be the result of [`SessionId::of`] for
    /// an equal token. Only a near cache (copies of sessions in this process) should call this
    /// method. A request for a cached session then does not have to derive the id.
    #[doc(hidden)]
    pub fn record_session_id(&self, id: SessionId) {
        let _ = self.id.set(id);
    }

    /// Returns the token's canonical text, which must only be shown to the client that holds the
    /// token.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.text
    }

    /// Returns the first eight characters of the token, which logs may show.
    #[must_use]
    pub fn prefix(&self) -> TokenPrefix {
        let mut prefix = ArrayString::new();
        for character in self.text.chars().take(PREFIX_LEN) {
            prefix.push(character);
        }
        TokenPrefix(prefix)
    }
}

impl FromStr for SessionToken {
    type Err = ParseTokenError;

    /// Parses a token in the canonical spelling of either format. Other spellings are rejected:
    /// upper-case, braced or URN spellings of a UUID, and padded base64. Every token therefore has
    /// exactly one valid spelling.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let canonical = ArrayString::from(text).map_err(|_| ParseTokenError)?;
        let is_token = match text.len() {
            UUID_LEN => is_canonical_uuid(text),
            OPAQUE_LEN => URL_SAFE_NO_PAD.decode(text).is_ok(),
            _ => false,
        };
        if is_token {
            Ok(Self::of(canonical))
        } else {
            Err(ParseTokenError)
        }
    }
}

fn is_canonical_uuid(text: &str) -> bool {
    let Ok(uuid) = Uuid::try_parse(text) else {
        return false;
    };
    uuid.get_version() == Some(Version::Random)
        && uuid.get_variant() == Variant::RFC4122
        && uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text
}

/// Returns a version 4 UUID from this crate's own random source. The random source of the `uuid`
/// crate depends on features that other crates of a build can enable, so it is not used.
fn random_uuid() -> Uuid {
    Builder::from_random_bytes(random_bytes()).into_uuid()
}

#[expect(
    clippy::expect_used,
    reason = "without randomness there are no tokens: stop"
)]
fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}

/// Format of new tokens. Existing tokens are accepted in every format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TokenFormat {
    /// A random UUID (RFC 9562, version 4) with 122 random bits, in lower case and with hyphens.
    #[default]
    Uuid,
    /// An opaque token with 256 random bits: 43 characters of base64url without padding (RFC 4648,
    /// section 5). This format is for operators who must prove that each token has at least 128
    /// random bits (OWASP ASVS 5.0, requirement 7.2.3).
    Opaque,
}

impl TokenFormat {
    /// Returns the name of this token format in the settings, such as `uuid`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Opaque => "opaque",
        }
    }
}

impl FromStr for TokenFormat {
    type Err = UnknownTokenFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all = [Self::Uuid, Self::Opaque];
        all.into_iter()
            .find(|format| format.as_str() == name)
            .ok_or(UnknownTokenFormat)
    }
}

/// Parse error: the text is not the name of a token format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the token format must be uuid or opaque")]
pub struct UnknownTokenFormat;

impl Drop for SessionToken {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl ZeroizeOnDrop for SessionToken {}

impl PartialEq for SessionToken {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SessionToken {}

impl Hash for SessionToken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken([redacted])")
    }
}

/// The first eight characters of a token. These characters are enough to follow a session through
/// the logs, but too few to use the session. The remaining random bits stay secret: 90 bits of a
/// UUID token, 208 bits of an opaque token.
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

/// Parse error: the text is not a session token. The error does not contain the text, because the
/// text may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the text is not a session token in canonical spelling")]
pub struct ParseTokenError;

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::BuildHasher};

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const TOKEN: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

    #[test]
    fn hash_of_a_token_depends_on_its_text() {
        let hasher = std::hash::RandomState::new();
        let (token, other) = (SessionToken::generate(), SessionToken::generate());
        assert_eq!(hasher.hash_one(&token), hasher.hash_one(token.clone()));
        assert_ne!(hasher.hash_one(&token), hasher.hash_one(&other));
    }

    #[rstest]
    #[case::uuid("uuid", Ok(TokenFormat::Uuid))]
    #[case::opaque("opaque", Ok(TokenFormat::Opaque))]
    #[case::upper_case("UUID", Err(UnknownTokenFormat))]
    #[case::empty("", Err(UnknownTokenFormat))]
    fn token_format_is_parsed_from_its_name(
        #[case] name: &str,
        #[case] expected: Result<TokenFormat, UnknownTokenFormat>,
    ) {
        let format = name.parse::<TokenFormat>();
        assert_eq!(format, expected);
        assert_eq!(
            format.map_or("", TokenFormat::as_str),
            expected.map_or("", |_| name)
        );
    }

    #[rstest]
    #[case::uuid(TokenFormat::Uuid, UUID_LEN)]
    #[case::opaque(TokenFormat::Opaque, OPAQUE_LEN)]
    fn generated_token_is_canonical_and_unique(#[case] format: TokenFormat, #[case] len: usize) {
        let tokens: HashSet<_> = (0..1_000)
            .map(|_| SessionToken::generate_as(format))
            .collect();
        assert_eq!(tokens.len(), 1_000);
        for token in &tokens {
            assert_eq!(token.expose_secret().len(), len);
            assert_eq!(token.expose_secret().parse(), Ok(token.clone()));
        }
    }

    #[rstest]
    #[case::padded("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
    #[case::unused_bits_set("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB")]
    #[case::standard_alphabet("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+A")]
    #[case::one_character_short("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    #[case::with_colon("session:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    #[case::not_ascii("ÄAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    fn noncanonical_opaque_token_is_rejected(#[case] text: &str) {
        assert_eq!(text.parse::<SessionToken>(), Err(ParseTokenError));
    }

    #[test]
    fn token_prefix_is_the_first_eight_characters_of_the_token() {
        let token: SessionToken = TOKEN.parse().unwrap();
        assert_eq!(token.prefix().to_string(), "1b9d6bcd");
    }

    #[test]
    fn debug_output_of_the_token_is_redacted() {
        let token: SessionToken = TOKEN.parse().unwrap();
        assert_eq!(format!("{token:?}"), "SessionToken([redacted])");
    }

    #[rstest]
    #[case::empty("")]
    #[case::one_character_short("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4be")]
    #[case::one_character_long("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bedd")]
    #[case::upper_case("1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED")]
    #[case::without_hyphens("1b9d6bcdbbfd4b2d9b5dab8dfbbd4bed")]
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
    fn malformed_or_noncanonical_uuid_is_rejected(#[case] text: &str) {
        assert_eq!(text.parse::<SessionToken>(), Err(ParseTokenError));
    }

    proptest! {
        #[test]
        fn parsing_arbitrary_text_as_a_token_never_panics(
            text in "\\PC{0,50}|[0-9a-f-]{36}|[-_0-9A-Za-z]{43}",
        ) {
            if let Ok(token) = text.parse::<SessionToken>() {
                prop_assert_eq!(token.expose_secret(), text);
            }
        }
    }
}
