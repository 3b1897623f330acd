//! Search for secrets of a request in ids that the client chose. Such ids are logged, but secrets
//! must not be logged.

use std::str::from_utf8;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use base64::prelude::{BASE64_STANDARD, Engine};
use zeroize::Zeroizing;

/// Length of the shortest session token in the spelling of [`folded`]: a UUID without hyphens.
const MIN_TOKEN_LEN: usize = 32;

/// Maximum length of a secret that is searched for, in the spelling of [`folded`].
const MAX_SECRET_LEN: usize = 128;

/// Maximum length of all `Authorization` headers together that are searched for secrets, in bytes.
/// The search runs before the request is authenticated, so its cost must be limited.
const MAX_SEARCHED_LEN: usize = 1_024;

/// Returns `true` if `id`, which is ASCII, contains a token in an `Authorization` header, or Basic
/// credentials (RFC 7617), or the secret in these credentials. If the headers are too long to be
/// searched, the result is also `true`.
pub(crate) fn contains_credentials(id: &str, headers: &HeaderMap) -> bool {
    if id.is_empty() || !headers.contains_key(AUTHORIZATION) {
        return false;
    }
    let fields = || headers.get_all(AUTHORIZATION).map(HeaderValue::as_bytes);
    if fields().map(<[u8]>::len).sum::<usize>() > MAX_SEARCHED_LEN {
        return true;
    }
    let id = FoldedId::new(id);
    fields().any(|field| id.contains_token(field) || id.contains_basic_credentials(field))
}

/// Returns `true` if `id`, which is ASCII, may contain a session token from `form`, a URL-encoded
/// request body. Each word in a form value that is long enough to be a token counts as one.
pub(crate) fn contains_token_in_form(id: &str, form: &[u8]) -> bool {
    let id = FoldedId::new(id);
    form_urlencoded::parse(form).any(|(_, value)| {
        let value = Zeroizing::new(value.into_owned());
        id.contains_token(value.as_bytes())
    })
}

/// Returns `true` if `id` is long enough to contain a session token. The ids of most generators,
/// such as UUIDs, are long enough.
pub(crate) fn may_contain_token(id: &str) -> bool {
    folded(id.as_bytes()).count() >= MIN_TOKEN_LEN
}

/// An id in the spelling of [`folded`].
struct FoldedId(String);

impl FoldedId {
    fn new(id: &str) -> Self {
        Self(folded(id.as_bytes()).map(char::from).collect())
    }

    /// Returns `true` if the id contains a word of `text` that is long enough to be a session
    /// token. Characters that no token contains separate the words.
    fn contains_token(&self, text: &[u8]) -> bool {
        let is_separator = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"-_".contains(byte);
        let mut words = text.split(is_separator);
        words.any(|word| word.len() >= MIN_TOKEN_LEN && self.contains(word, MIN_TOKEN_LEN))
    }

    /// Returns `true` if the id contains the Basic credentials in `field`, the value of an
    /// `Authorization` header, or the secret in these credentials.
    fn contains_basic_credentials(&self, field: &[u8]) -> bool {
        let credentials = match field.trim_ascii().split_at_checked(b"Basic".len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"Basic") => rest.trim_ascii(),
            _ => return false,
        };
        let mut decoded = Zeroizing::new(Vec::<u8>::new());
        let is_decoded = BASE64_STANDARD
            .decode_vec(credentials, &mut decoded)
            .is_ok();
        let colon = decoded.iter().position(|byte| *byte == b':');
        let secret = colon
            .filter(|_| is_decoded)
            .map(|colon| &decoded[colon + 1..]);
        self.contains(credentials, 1) || secret.is_some_and(|secret| self.contains(secret, 1))
    }

    /// Returns `true` if the id contains `secret`, and `secret` has at least `min_len` bytes in the
    /// spelling of [`folded`]. A secret longer than [`MAX_SECRET_LEN`] is not searched for: it
    /// counts as contained if the id is also longer than that.
    fn contains(&self, secret: &[u8], min_len: usize) -> bool {
        let mut buffer = Zeroizing::new([0_u8; MAX_SECRET_LEN]);
        let mut len = 0;
        for byte in folded(secret) {
            if len == self.0.len() {
                return false;
            }
            let Some(place) = buffer.get_mut(len) else {
                return true;
            };
            *place = byte;
            len += 1;
        }
        let secret = from_utf8(&buffer[..len]);
        len >= min_len && secret.is_ok_and(|secret| self.0.contains(secret))
    }
}

/// Leaves out the hyphens of `text` and converts it to lower case, so that all spellings of a UUID
/// become equal. An id must not reveal a token in another spelling either, such as without hyphens
/// or in upper case.
fn folded(text: &[u8]) -> impl Iterator<Item = u8> {
    let others = text.iter().filter(|byte| **byte != b'-');
    others.map(u8::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TOKEN: &str = "5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f";
    const OPAQUE_TOKEN: &str = "Zm9v_YmFy-cXV4LXF1dXgtY29yZ2UtZ3JhdWx0LWdhcn";

    #[rstest]
    #[case::token("token=5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", TOKEN, true)]
    #[case::opaque_token(
        "token=Zm9v_YmFy-cXV4LXF1dXgtY29yZ2UtZ3JhdWx0LWdhcn",
        OPAQUE_TOKEN,
        true
    )]
    #[case::space_at_the_end("token=5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f+", TOKEN, true)]
    #[case::line_break("token=%0A5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f%0D%0A", TOKEN, true)]
    #[case::scheme("token=Bearer+5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", TOKEN, true)]
    #[case::quotation_marks("token=%225f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f%22", TOKEN, true)]
    #[case::other_parameter("a=5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f&token=x", TOKEN, true)]
    #[case::upper_case("token=5F0C8D2E7B1A4C3D9E8F0A1B2C3D4E5F", TOKEN, true)]
    #[case::short_values("token=7b1a-4c3d&v=5&w=&x=-", TOKEN, false)]
    #[case::hyphens("token=7b1a------------------------------------", TOKEN, false)]
    #[case::other_token("token=0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", TOKEN, false)]
    #[case::longer_than_the_id("token=5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f0", TOKEN, false)]
    fn id_that_contains_a_word_of_the_form_long_enough_to_be_a_token_is_detected(
        #[case] form: &str,
        #[case] id: &str,
        #[case] is_contained: bool,
    ) {
        assert_eq!(contains_token_in_form(id, form.as_bytes()), is_contained);
        let id = format!("r/{id}/1");
        assert_eq!(contains_token_in_form(&id, form.as_bytes()), is_contained);
    }

    fn contains(id: &str, authorization: &str) -> bool {
        let field = HeaderValue::from_str(authorization).unwrap();
        contains_credentials(id, &HeaderMap::from_iter([(AUTHORIZATION, field)]))
    }

    #[rstest]
    #[case::token("Bearer 5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", TOKEN, true)]
    #[case::short_word("Bearer 7b1a", TOKEN, false)]
    #[case::scheme("Bearer 7b1a", "bearer-1", false)]
    #[case::basic_scheme("Basic Y2k6czNjcmV0", "basic-1", false)]
    #[case::secret("bAsIc  Y2k6czNjcmV0 ", "r-S3CRET-1", true)]
    #[case::id_of_the_client("Basic Y2k6czNjcmV0", "ci-1", false)]
    #[case::empty_secret("Basic Y2k6", "ci-1", false)]
    #[case::only_hyphens_in_the_id("Basic Y2k6czNjcmV0", "-", false)]
    #[case::no_credentials("Basic", "basic-1", false)]
    fn id_that_contains_a_bearer_token_or_the_secret_of_basic_credentials_is_detected(
        #[case] authorization: &str,
        #[case] id: &str,
        #[case] is_contained: bool,
    ) {
        assert_eq!(contains(id, authorization), is_contained);
    }

    #[test]
    fn id_of_a_request_with_too_long_authorization_headers_is_never_used() {
        let longest = "x ".repeat(MAX_SEARCHED_LEN / 2);
        assert!(!contains("r-1", &longest));
        assert!(contains("r-1", &format!("{longest}x")));
        assert!(!contains("", &format!("{longest}x")));
    }

    #[test]
    fn secret_longer_than_128_bytes_counts_as_contained_in_an_id_longer_than_128_bytes() {
        let secret = "a".repeat(MAX_SECRET_LEN + 1);
        let authorization = format!("Bearer {secret}");
        assert!(contains(&secret, &authorization));
        assert!(contains(&"b".repeat(secret.len()), &authorization));
        assert!(!contains(&"b".repeat(MAX_SECRET_LEN), &authorization));
    }
}
