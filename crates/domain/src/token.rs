//! The bearer token: the one secret that a client holds.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::OnceLock,
};

use arrayvec::ArrayString;
use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use thiserror::Error;
use uuid::{Builder, Uuid, Variant, Version};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{SessionId, TokenHash, derivation::PseudorandomKey};

/// Characters of a token in each format.
const UUID_LEN: usize = 36;
const OPAQUE_LEN: usize = 43;

/// Characters of the longest one.
const MAX_TOKEN_LEN: usize = OPAQUE_LEN;

/// Random bytes of an opaque token.
const OPAQUE_BYTES: usize = 32;

/// Characters of a token that may stand in a log.
const PREFIX_LEN: usize = 8;

/// A bearer token, in the one canonical spelling of its [`TokenFormat`].
///
/// The token is a secret. It has no `Display`, its `Debug` shows nothing of it, its memory is
/// wiped when it is dropped, and only [`expose_secret`](Self::expose_secret) gives its text.
/// For logs there is [`prefix`](Self::prefix), for URLs and operators
/// [`SessionId`](crate::SessionId).
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
    // A request needs each of these several times. Each is computed when it is first needed.
    hash: OnceLock<TokenHash>,
    id: OnceLock<SessionId>,
    pseudorandom_key: OnceLock<PseudorandomKey>,
}

impl SessionToken {
    /// Makes a new token in the default format.
    #[must_use]
    pub fn generate() -> Self {
        Self::generate_as(TokenFormat::default())
    }

    /// Makes a new token from the cryptographic generator of AWS-LC, which the operating system seeds.
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

    /// Its hash, computed when it is first needed.
    pub(crate) fn hash(&self, compute: impl FnOnce() -> TokenHash) -> TokenHash {
        *self.hash.get_or_init(compute)
    }

    /// Its session's id, derived when it is first asked for.
    pub(crate) fn session_id(&self, derive: impl FnOnce() -> SessionId) -> SessionId {
        *self.id.get_or_init(derive)
    }

    /// The key of all derivations from it, extracted when it is first needed.
    pub(crate) fn pseudorandom_key(
        &self,
        extract: impl FnOnce() -> PseudorandomKey,
    ) -> &PseudorandomKey {
        self.pseudorandom_key.get_or_init(extract)
    }

    /// Tells it the id of its session, as [`SessionId::of`] has told it before: for who keeps
    /// sessions near, and spares a request from deriving it again. Not for use by others.
    #[doc(hidden)]
    pub fn know_session_id(&self, id: SessionId) {
        let _ = self.id.set(id);
    }

    /// The token's canonical text: what a client sends, and nobody else may see.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.text
    }

    /// The first eight characters, which logs may show.
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

    /// Accepts the canonical spelling of either format and nothing else: no upper-case, braced
    /// or URN spelling of a UUID, no padded base64, so that one session has one spelling
    /// everywhere.
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

/// Returns a UUID of version 4 from this crate's own source: the one of `uuid` depends on the features
/// that other crates of a build enable.
fn random_uuid() -> Uuid {
    Builder::from_random_bytes(random_bytes()).into_uuid()
}

#[expect(
    clippy::expect_used,
    reason = "without randomness there are no tokens: stop"
)]
fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// How new tokens look. Tokens of every format are always accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TokenFormat {
    /// A random UUID (RFC 9562, version 4), lower-case and hyphenated: 122 random bits.
    #[default]
    Uuid,
    /// 256 random bits in base64url without padding (RFC 4648, section 5), 43 characters: for
    /// those who have to show the 128 bits of OWASP ASVS 5.0, 7.2.3.
    Opaque,
}

impl TokenFormat {
    /// The name in settings.
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

/// There is no such token format.
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

/// The first eight characters of a token: enough to follow a session through the logs, too
/// little to use it (of a UUID 90 random bits stay hidden, of an opaque token 208).
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

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const TOKEN: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

    #[rstest]
    #[case::uuid(TokenFormat::Uuid, UUID_LEN)]
    #[case::opaque(TokenFormat::Opaque, OPAQUE_LEN)]
    fn a_generated_token_is_canonical_and_never_repeats(
        #[case] format: TokenFormat,
        #[case] len: usize,
    ) {
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
    #[case::stray_bits("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB")]
    #[case::standard_alphabet("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+A")]
    #[case::one_short("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    #[case::with_colon("session:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    #[case::not_ascii("ÄAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    fn an_opaque_token_has_one_spelling(#[case] text: &str) {
        assert_eq!(text.parse::<SessionToken>(), Err(ParseTokenError));
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

    proptest! {
        #[test]
        fn whatever_is_given_is_judged_without_a_panic(text in "\\PC{0,50}|[0-9a-f-]{36}|[-_0-9A-Za-z]{43}") {
            if let Ok(token) = text.parse::<SessionToken>() {
                prop_assert_eq!(token.expose_secret(), text);
            }
        }
    }
}
