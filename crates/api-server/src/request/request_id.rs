//! Request ids.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Serialize, Serializer};
use uuid::{Builder, NoContext, Timestamp, Uuid};

pub(crate) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ids of requests are not taken over.
const MAX_REQUEST_ID_LEN: usize = 128;

/// Name of a request in logs, traces and its answer: the value of `X-Request-Id` if it is sane and
/// holds no credentials of the request, and a new id otherwise.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all(REQUEST_ID_HEADER);
        let given = match (fields.next(), fields.next()) {
            (Some(field), None) if is_sane(field.as_bytes()) => Some(Self(field.clone())),
            _ => None,
        };
        given
            .filter(|id| !holds_credentials(id.as_str(), headers))
            .unwrap_or_else(|| Self(new_id()))
    }

    pub(crate) fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("unknown")
    }
}

/// A UUID of version 7 (RFC 9562). It is a name and no secret: it need not come from the operating
/// system, which a system call for each request would be.
fn new_id() -> HeaderValue {
    let (seconds, nanos) = Timestamp::now(NoContext).to_unix();
    let millis = seconds * 1_000 + u64::from(nanos) / 1_000_000;
    let random = fastrand::u128(..).to_ne_bytes();
    let random = random.first_chunk().unwrap_or(&[0; 10]);
    let id = Builder::from_unix_timestamp_millis(millis, random);
    let mut text = Uuid::encode_buffer();
    let id = id.into_uuid().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Letters, digits and the separators that ids have: nothing that a log could take for more.
fn is_sane(id: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID_LEN).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

/// Returns `true` if an id contains what the request's `Authorization` holds after the scheme, or the
/// secret within it: ids are logged, and these must not be. Another spelling of a UUID is the same token.
fn holds_credentials(id: &str, headers: &HeaderMap) -> bool {
    let id = folded(id);
    headers.get_all(AUTHORIZATION).any(|field| {
        let field = String::from_utf8_lossy(field.as_bytes());
        let credentials = field.trim().split_once([' ', '\t']);
        let credentials = credentials.map_or(&*field, |(_scheme, credentials)| credentials);
        let words = credentials.split([' ', '\t', ',']);
        words.into_iter().any(|word| {
            let secret = basic_secret(word).map(|secret| folded(&secret));
            let mut held = [Some(folded(word)), secret].into_iter().flatten();
            held.any(|held| !held.is_empty() && id.contains(&held))
        })
    })
}

/// Returns the secret in Basic credentials (RFC 7617).
fn basic_secret(credentials: &str) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(credentials).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    Some(decoded.split_once(':')?.1.to_owned())
}

/// Returns text without the differences between spellings of a UUID.
fn folded(text: &str) -> String {
    text.replace('-', "").to_ascii_lowercase()
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn id_beside(authorization: &[&str], fields: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for field in authorization {
            headers.append(AUTHORIZATION, HeaderValue::from_str(field).unwrap());
        }
        for field in fields {
            headers.append(REQUEST_ID_HEADER, HeaderValue::from_bytes(field).unwrap());
        }
        RequestId::of(&headers).as_str().to_owned()
    }

    fn id_of(fields: &[&[u8]]) -> String {
        id_beside(&[], fields)
    }

    #[rstest]
    #[case::uuid("0193a1b2-0000-7000-8000-000000000000")]
    #[case::trace_id("4bf92f3577b34da6a3ce929d0e0e4736")]
    #[case::amazon("Root=1-67891233-abcdef012345678912345678")]
    fn a_sane_id_is_taken_over(#[case] id: &str) {
        assert_eq!(id_of(&[id.as_bytes()]), id);
    }

    #[rstest]
    #[case::none(&[])]
    #[case::empty(&[b"".as_slice()])]
    #[case::space(&[b"a b".as_slice()])]
    #[case::quote(&[b"a\"b".as_slice()])]
    #[case::not_ascii(&[b"\xff".as_slice()])]
    #[case::too_long(&[[b'a'; 129].as_slice()])]
    #[case::twice(&[b"a".as_slice(), b"b"])]
    fn anything_else_gets_a_new_id(#[case] fields: &[&[u8]]) {
        let id = id_of(fields);
        assert_eq!(id.len(), 36, "{id}");
        assert_ne!(id, id_of(fields));
    }

    const TOKEN: &str = "5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f";

    #[rstest]
    #[case::alone("Bearer 5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", TOKEN)]
    #[case::within("Bearer 5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", &format!("r/{TOKEN}/1"))]
    #[case::after_spaces("bearer  \t5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f ", TOKEN)]
    #[case::one_of_two("Bearer x,5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", TOKEN)]
    #[case::no_scheme(TOKEN, TOKEN)]
    #[case::upper_case("Bearer 5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", &TOKEN.to_uppercase())]
    #[case::no_hyphens("Bearer 5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", &TOKEN.replace('-', ""))]
    #[case::credentials("Basic Y2k6czNjcmV0", "Y2k6czNjcmV0")]
    #[case::secret_within_them("Basic Y2k6czNjcmV0", "r-s3cret-1")]
    fn id_that_contains_credentials_is_replaced(#[case] authorization: &str, #[case] id: &str) {
        let replaced = id_beside(&[authorization], &[id.as_bytes()]);
        assert_eq!(replaced.len(), 36);
        assert!(!replaced.contains("5f0c8d2e-7b1a"), "{replaced}");
        let replaced = id_beside(&["Bearer x1", authorization], &[id.as_bytes()]);
        assert!(!replaced.contains(id), "{replaced}");
    }

    #[test]
    fn id_beside_other_credentials_is_taken_over() {
        let authorization = format!("Bearer {TOKEN}");
        assert_eq!(id_beside(&[&authorization], &[b"Bearer-1"]), "Bearer-1");
        let prefix = &TOKEN.as_bytes()[..8];
        assert_eq!(id_beside(&[&authorization], &[prefix]), TOKEN[..8]);
    }
}
