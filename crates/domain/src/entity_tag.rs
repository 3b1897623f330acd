//! The entity tag: a name for what can be changed of a session.

use std::fmt;

use hmac::Mac;
use time::OffsetDateTime;

use crate::{
    BaseUrl, Session, SessionId, SessionToken, TokenDerivation,
    derivation::keyed,
    short_text::{self, TEXT_LEN},
};

/// Bytes of a tag.
const TAG_LEN: usize = 16;

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
    /// Characters of its text.
    pub const TEXT_LEN: usize = TEXT_LEN;

    /// Its text, written into `buffer`: what `Display` gives, without its machinery.
    #[must_use]
    pub fn encode<'a>(&self, buffer: &'a mut [u8; Self::TEXT_LEN]) -> &'a str {
        short_text::encode(&self.0, buffer)
    }

    /// The tag of what `session` holds now, for the holder of `token`.
    ///
    /// If clones of the session share its cookies, as copies in a cache do, the tag is kept with them
    /// and computed once.
    #[must_use]
    pub fn of(token: &SessionToken, session: &Session) -> Self {
        let kept = session.cookies.kept_tag();
        if let Some(kept) = kept.get().filter(|kept| kept.is_of(token, session)) {
            return kept.tag;
        }
        let tag = Self::compute(token, session);
        if session.cookies.is_shared() {
            // Of two threads one is first.
            let _ = kept.set(KeptTag::new(tag, token, session));
        }
        tag
    }

    fn compute(token: &SessionToken, session: &Session) -> Self {
        let key = TokenDerivation::of(token).key(TAG_KEY_LABEL);
        let mut tag = keyed(key.expose_secret());
        // Microseconds, since a record keeps no more.
        let created_at = session.created_at - OffsetDateTime::UNIX_EPOCH;
        tag.update(&created_at.whole_microseconds().to_be_bytes());
        // No text holds a control character, so that NUL ends each of them.
        tag.update(session.base_url.as_str().as_bytes());
        tag.update(&[0]);
        tag.update(session.cookies.nul_terminated());
        let whole = tag.finalize().into_bytes();
        let mut own = [0; TAG_LEN];
        own.copy_from_slice(&whole[..TAG_LEN]);
        Self(own)
    }
}

/// A tag that is kept with the cookies it covers, and whatever else it depends on.
pub(crate) struct KeptTag {
    tag: EntityTag,
    /// Names the token.
    id: SessionId,
    created_at: OffsetDateTime,
    base_url: BaseUrl,
}

impl KeptTag {
    fn new(tag: EntityTag, token: &SessionToken, session: &Session) -> Self {
        Self {
            tag,
            id: SessionId::of(token),
            created_at: session.created_at,
            base_url: session.base_url.clone(),
        }
    }

    /// A rotated session has the same cookies and another token, a changed one may have another URL.
    fn is_of(&self, token: &SessionToken, session: &Session) -> bool {
        self.created_at == session.created_at
            && self.base_url == session.base_url
            && self.id == SessionId::of(token)
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; TEXT_LEN]))
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
    fn clones_of_a_session_keep_its_tag_and_only_its_own() {
        let (token, other) = (SessionToken::generate(), SessionToken::generate());
        let cached = session(&[("a", "1")], "https://golf.example", 7);
        let copy = cached.clone();
        let tag = EntityTag::of(&token, &copy);
        assert!(cached.cookies.kept_tag().get().is_some());
        assert_eq!(EntityTag::of(&token, &cached), tag);
        // The same cookies, and something else changed.
        let elsewhere = Session {
            base_url: BaseUrl::new("https://other.example").unwrap(),
            ..copy.clone()
        };
        let later = Session {
            created_at: copy.created_at + time::Duration::microseconds(1),
            ..copy.clone()
        };
        for (token, session) in [(&other, &copy), (&token, &elsewhere), (&token, &later)] {
            let unshared = self::session(
                &[("a", "1")],
                session.base_url.as_str(),
                session.created_at.unix_timestamp_nanos() as i64 / 1_000,
            );
            assert_ne!(EntityTag::of(token, session), tag);
            assert_eq!(
                EntityTag::of(token, session),
                EntityTag::of(token, &unshared)
            );
        }
    }

    #[test]
    fn session_without_clones_keeps_no_tag() {
        let session = session(&[("a", "1")], "https://golf.example", 7);
        let _ = EntityTag::of(&SessionToken::generate(), &session);
        assert!(session.cookies.kept_tag().get().is_none());
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
