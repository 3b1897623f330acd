//! The entity tag: a name for what can be changed of a session.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::OffsetDateTime;

use crate::{Session, SessionToken, TokenDerivation};

/// Bytes of a tag.
const TAG_LEN: usize = 16;

/// Characters of its text.
const TEXT_LEN: usize = 22;

/// HKDF info of the key that tags.
const TAG_KEY_LABEL: &[u8] = b"entity tag";

/// Names the cookies, the base URL and the creation of a session: two states of one session have the
/// same tag only if they are the same (a strong validator, RFC 9110, section 8.8.3). When the
/// session ends does not matter.
///
/// It is sixteen bytes of HMAC-SHA-256 under a key that is derived from the token, so it tells
/// nothing of the cookies to whoever does not hold the token; shown in base64url, without the
/// quotation marks that it has in a header field.
///
/// ```
/// use time::OffsetDateTime;
/// use tee_session_domain::{BaseUrl, Cookies, EntityTag, Login, Session, SessionToken};
///
/// let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())])?;
/// let login = Login::new(cookies, BaseUrl::new("https://golf.example")?);
/// let session = Session::new(login, OffsetDateTime::UNIX_EPOCH, None);
/// let token = SessionToken::generate();
/// assert_eq!(EntityTag::of(&token, &session), EntityTag::of(&token, &session));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag([u8; TAG_LEN]);

impl EntityTag {
    /// The tag of what `session` holds now, for the holder of `token`.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "HMAC takes keys of any length (RFC 2104)"
    )]
    pub fn of(token: &SessionToken, session: &Session) -> Self {
        let key = TokenDerivation::of(token).key(TAG_KEY_LABEL);
        let mut tag = Hmac::<Sha256>::new_from_slice(key.expose_secret()).expect("any length");
        // Microseconds, since a record keeps no more.
        let created_at = session.created_at - OffsetDateTime::UNIX_EPOCH;
        tag.update(&created_at.whole_microseconds().to_be_bytes());
        let base_url = session.base_url.as_str();
        let cookies = session.cookies.iter();
        let texts = cookies.flat_map(|(name, value)| [name, value]);
        // None of them holds a control character: what ends one is in no other.
        for text in std::iter::once(base_url).chain(texts) {
            tag.update(text.as_bytes());
            tag.update(&[0]);
        }
        let whole = tag.finalize().into_bytes();
        let mut own = [0; TAG_LEN];
        own.copy_from_slice(&whole[..TAG_LEN]);
        Self(own)
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TEXT_LEN];
        let len = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text);
        let len = len.map_err(|_| fmt::Error)?;
        f.write_str(str::from_utf8(&text[..len]).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{BaseUrl, Cookies, Login};

    fn session(cookies: &[(&str, &str)], base_url: &str, micros: i64) -> Session {
        let cookies = cookies
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let login = Login::new(
            Cookies::new(cookies).unwrap(),
            BaseUrl::new(base_url).unwrap(),
        );
        let created_at = OffsetDateTime::UNIX_EPOCH + time::Duration::microseconds(micros);
        Session::new(login, created_at, None)
    }

    #[rstest]
    #[case::value(&[("a", "2")], "https://golf.example", 7)]
    #[case::name(&[("b", "1")], "https://golf.example", 7)]
    #[case::one_more(&[("a", "1"), ("b", "")], "https://golf.example", 7)]
    #[case::base_url(&[("a", "1")], "https://golf.example/", 7)]
    #[case::created_at(&[("a", "1")], "https://golf.example", 8)]
    fn another_state_has_another_tag(
        #[case] cookies: &[(&str, &str)],
        #[case] base_url: &str,
        #[case] micros: i64,
    ) {
        let token = SessionToken::generate();
        let tag = EntityTag::of(&token, &session(&[("a", "1")], "https://golf.example", 7));
        assert_ne!(
            tag,
            EntityTag::of(&token, &session(cookies, base_url, micros))
        );
    }

    #[test]
    fn where_one_text_ends_and_the_next_begins_matters() {
        let token = SessionToken::generate();
        let tag = |cookies| EntityTag::of(&token, &session(cookies, "https://golf.example", 0));
        assert_ne!(tag(&[("ab", "c")]), tag(&[("a", "bc")]));
    }

    #[test]
    fn the_holder_of_another_token_sees_another_tag() {
        let session = session(&[("a", "1")], "https://golf.example", 7);
        let tag = || EntityTag::of(&SessionToken::generate(), &session);
        assert_ne!(tag(), tag());
    }

    #[test]
    fn nanoseconds_and_the_end_do_not_matter() {
        let token = SessionToken::generate();
        let session = session(&[("a", "1")], "https://golf.example", 7);
        let other = Session {
            created_at: session.created_at + time::Duration::nanoseconds(999),
            absolute_end: Some(session.created_at),
            ..session.clone()
        };
        assert_eq!(
            EntityTag::of(&token, &session),
            EntityTag::of(&token, &other)
        );
    }

    #[test]
    fn its_text_may_stand_in_a_header_field() {
        let session = session(&[("a", "1")], "https://golf.example", 7);
        let text = EntityTag::of(&SessionToken::generate(), &session).to_string();
        assert_eq!(text.len(), TEXT_LEN);
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'"')
        );
    }
}
