//! Search for the credentials of a request in ids that the client chose. Such ids are logged, but
//! credentials must not be logged.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::prelude::{BASE64_STANDARD, Engine};

/// Length of the shortest session token in the spelling of [`folded`]: a UUID without hyphens.
const MIN_FOLDED_TOKEN_LEN: usize = 32;

/// Returns `true` if `id` contains the credentials of an `Authorization` header, or the secret
/// within Basic credentials.
pub(crate) fn contains_credentials(id: &str, headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).any(|field| {
        let field = String::from_utf8_lossy(field.as_bytes());
        let credentials = field.trim().split_once([' ', '\t']);
        let credentials = credentials.map_or(&*field, |(_scheme, credentials)| credentials);
        let words = credentials.split([' ', '\t', ',']);
        words.into_iter().any(|word| {
            contains_secret(id, word)
                || basic_secret(word).is_some_and(|secret| contains_secret(id, &secret))
        })
    })
}

/// Returns `true` if `id` contains `secret`, and `secret` is not empty.
///
/// The comparison ignores hyphens and case, because a session token in the format of a UUID can
/// also be written without hyphens or in upper case.
pub(crate) fn contains_secret(id: &str, secret: &str) -> bool {
    let secret = folded(secret);
    !secret.is_empty() && folded(id).contains(&secret)
}

/// Returns `true` if `id` is long enough to contain a session token. The ids of most generators,
/// such as UUIDs, are long enough.
pub(crate) fn may_contain_token(id: &str) -> bool {
    folded(id).len() >= MIN_FOLDED_TOKEN_LEN
}

/// Returns the secret in Basic credentials (RFC 7617). Returns `None` if `credentials` are
/// malformed.
fn basic_secret(credentials: &str) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(credentials).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    Some(decoded.split_once(':')?.1.to_owned())
}

/// Removes hyphens from `text` and converts it to lower case, so that all spellings of a UUID
/// become equal.
fn folded(text: &str) -> String {
    text.replace('-', "").to_ascii_lowercase()
}
