//! Computation of the entity tag of a session, with a key derived from the token.

use hmac::Mac;
use time::OffsetDateTime;

use crate::{
    EntityTag, Session, SessionId, SessionToken, TokenDerivation, cookies::CachedTag,
    entity_tag::TAG_LEN, hkdf::keyed,
};

/// HKDF label (`info` input) with which the key for computing entity tags is derived.
const TAG_KEY_LABEL: &[u8] = b"entity tag";

impl EntityTag {
    /// Returns the entity tag of the current state of `session`, computed with a key derived from
    /// `token`.
    ///
    /// If the session shares its cookies with a clone, for example with a cached copy of the
    /// session, the tag is computed once and cached with the cookies.
    #[must_use]
    pub fn of(token: &SessionToken, session: &Session) -> Self {
        let cache = session.cookies.cached_tag();
        if let Some(cached) = cache.get().filter(|cached| matches(cached, token, session)) {
            return cached.tag;
        }
        let tag = Self::compute(token, session);
        if session.cookies.is_shared() {
            // `set` fails if the cookies already have a cached tag. That is no problem, because the
            // computed tag is returned in any case.
            let _ = cache.set(CachedTag {
                tag,
                id: SessionId::of(token),
                created_at: session.created_at,
                base_url: session.base_url.clone(),
            });
        }
        tag
    }

    fn compute(token: &SessionToken, session: &Session) -> Self {
        let key = TokenDerivation::of(token).key(TAG_KEY_LABEL);
        let mut tag = keyed(key.expose_secret());
        // The creation time is used in microseconds, because stored records have no finer
        // resolution.
        let created_at = session.created_at - OffsetDateTime::UNIX_EPOCH;
        tag.update(&created_at.whole_microseconds().to_be_bytes());
        // NUL is a safe separator, because base URL, cookie names and cookie values contain no
        // control characters.
        tag.update(session.base_url.as_str().as_bytes());
        tag.update(&[0]);
        tag.update(session.cookies.nul_terminated());
        let whole = tag.finalize().into_bytes();
        let mut truncated = [0; TAG_LEN];
        truncated.copy_from_slice(&whole[..TAG_LEN]);
        Self::from_bytes(truncated)
    }
}

/// Returns `true` if the cached tag was computed with `token` for the current state of `session`.
/// The tag is cached with the cookies, but the same cookies are not enough: a rotated session has
/// another token, and an updated session may have another base URL.
fn matches(cached: &CachedTag, token: &SessionToken, session: &Session) -> bool {
    cached.created_at == session.created_at
        && cached.base_url == session.base_url
        && cached.id == SessionId::of(token)
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
    #[case::additional_cookie(&[("a", "1"), ("b", "")], "https://golf.example", 7)]
    #[case::base_url(&[("a", "1")], "https://golf.example/", 7)]
    #[case::created_at(&[("a", "1")], "https://golf.example", 8)]
    fn entity_tag_changes_with_the_cookies_base_url_and_creation_time(
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
    fn entity_tag_depends_on_the_boundary_between_cookie_name_and_value() {
        let token = SessionToken::generate();
        let tag = |cookies| EntityTag::of(&token, &session(cookies, "https://golf.example", 0));
        assert_ne!(tag(&[("ab", "c")]), tag(&[("a", "bc")]));
    }

    #[test]
    fn same_session_has_different_entity_tags_under_different_tokens() {
        let session = session(&[("a", "1")], "https://golf.example", 7);
        let tag = || EntityTag::of(&SessionToken::generate(), &session);
        assert_ne!(tag(), tag());
    }

    #[test]
    fn entity_tag_ignores_creation_nanoseconds_and_the_end_of_the_absolute_lifetime() {
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
    fn session_clones_share_a_cached_entity_tag_only_for_the_same_token_and_state() {
        let (token, other) = (SessionToken::generate(), SessionToken::generate());
        let cached = session(&[("a", "1")], "https://golf.example", 7);
        let copy = cached.clone();
        let tag = EntityTag::of(&token, &copy);
        assert!(cached.cookies.cached_tag().get().is_some());
        assert_eq!(EntityTag::of(&token, &cached), tag);
        // The next two sessions have the same cookies as `copy`. The first has another base URL,
        // and the second has another creation time.
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
    fn session_without_clones_caches_no_entity_tag() {
        let session = session(&[("a", "1")], "https://golf.example", 7);
        let _ = EntityTag::of(&SessionToken::generate(), &session);
        assert!(session.cookies.cached_tag().get().is_none());
    }

    #[test]
    fn text_form_of_an_entity_tag_is_valid_in_a_header_field() {
        let session = session(&[("a", "1")], "https://golf.example", 7);
        let text = EntityTag::of(&SessionToken::generate(), &session).to_string();
        assert_eq!(text.len(), EntityTag::TEXT_LEN);
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'"')
        );
    }
}
