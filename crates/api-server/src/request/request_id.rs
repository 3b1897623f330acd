//! Request ids: the value of `X-Request-Id`, or a generated UUID.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, Serializer};
use uuid::{Builder, NoContext, Timestamp, Uuid};

use crate::request::credentials::{contains_credentials, may_contain_token};

pub(crate) const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Maximum length of an `X-Request-Id` value, in bytes. A longer value is replaced by a new id.
const MAX_REQUEST_ID_LEN: usize = 128;

/// Id of a request in logs, in traces and in the header `X-Request-Id` of the response.
///
/// The client sets the id with one `X-Request-Id` header. If this header is missing, repeated or
/// invalid, or contains credentials of the request, a new id is generated. On `/v1/introspect` and
/// `/v1/revoke`, an id of 32 or more characters (without hyphens) is used only after the form was
/// read, and only if it contains no word of the form that may be a token: see
/// [`AcceptedId`](super::accepted_id::AcceptedId).
#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// Returns the id that the client set. Returns `None` if a new id must be generated.
    pub(crate) fn given(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(REQUEST_ID_HEADER);
        let given = match (fields.next(), fields.next()) {
            (Some(field), None) if is_valid(field.as_bytes()) => Some(Self(field.clone())),
            _ => None,
        };
        given.filter(|id| !contains_credentials(id.as_str(), headers))
    }

    /// Generates a new id.
    pub(crate) fn generate() -> Self {
        Self(new_id())
    }

    /// Returns `true` if the id is long enough to contain a session token.
    pub(crate) fn may_contain_token(&self) -> bool {
        may_contain_token(self.as_str())
    }

    pub(crate) fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("unknown")
    }
}

/// Generates a UUID of version 7 (RFC 9562).
///
/// A request id is not a secret. Its random bits therefore come from a generator within the
/// process, and no system call is needed for each request.
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

/// Returns `true` if `id` has 1 to [`MAX_REQUEST_ID_LEN`] bytes and consists of ASCII letters,
/// digits and the separators `-_.:/+=`. Such an id cannot break the format of a log line.
fn is_valid(id: &[u8]) -> bool {
    (1..=MAX_REQUEST_ID_LEN).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte))
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::AUTHORIZATION;
    use rstest::rstest;

    use super::*;

    fn id_with_authorization(authorization: &[&str], fields: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for field in authorization {
            headers.append(AUTHORIZATION, HeaderValue::from_str(field).unwrap());
        }
        for field in fields {
            headers.append(REQUEST_ID_HEADER, HeaderValue::from_bytes(field).unwrap());
        }
        let id = RequestId::given(&headers).unwrap_or_else(RequestId::generate);
        id.as_str().to_owned()
    }

    fn id_of(fields: &[&[u8]]) -> String {
        id_with_authorization(&[], fields)
    }

    #[rstest]
    #[case::uuid("0193a1b2-0000-7000-8000-000000000000")]
    #[case::trace_id("4bf92f3577b34da6a3ce929d0e0e4736")]
    #[case::amazon_trace_header("Root=1-67891233-abcdef012345678912345678")]
    fn valid_x_request_id_is_used_as_the_request_id(#[case] id: &str) {
        assert_eq!(id_of(&[id.as_bytes()]), id);
    }

    #[rstest]
    #[case::missing(&[])]
    #[case::empty(&[b"".as_slice()])]
    #[case::space(&[b"a b".as_slice()])]
    #[case::quote(&[b"a\"b".as_slice()])]
    #[case::not_ascii(&[b"\xff".as_slice()])]
    #[case::too_long(&[[b'a'; 129].as_slice()])]
    #[case::repeated_header(&[b"a".as_slice(), b"b"])]
    fn missing_or_invalid_x_request_id_is_replaced_by_a_new_id(#[case] fields: &[&[u8]]) {
        let id = id_of(fields);
        assert_eq!(id.len(), 36, "{id}");
        assert_ne!(id, id_of(fields));
    }

    const TOKEN: &str = "5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f";

    #[rstest]
    #[case::whole_token("Bearer 5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", TOKEN)]
    #[case::token_within_id("Bearer 5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", &format!("r/{TOKEN}/1"))]
    #[case::after_spaces("bearer  \t5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f ", TOKEN)]
    #[case::second_of_two_tokens("Bearer x,5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", TOKEN)]
    #[case::no_scheme(TOKEN, TOKEN)]
    #[case::upper_case("Bearer 5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", &TOKEN.to_uppercase())]
    #[case::no_hyphens("Bearer 5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f", &TOKEN.replace('-', ""))]
    #[case::basic_credentials("Basic Y2k6czNjcmV0", "Y2k6czNjcmV0")]
    #[case::secret_of_basic_credentials("Basic Y2k6czNjcmV0", "r-s3cret-1")]
    fn request_id_that_contains_credentials_is_replaced_by_a_new_id(
        #[case] authorization: &str,
        #[case] id: &str,
    ) {
        let replaced = id_with_authorization(&[authorization], &[id.as_bytes()]);
        assert_eq!(replaced.len(), 36);
        assert!(!replaced.contains("5f0c8d2e-7b1a"), "{replaced}");
        let replaced = id_with_authorization(&["Bearer x1", authorization], &[id.as_bytes()]);
        assert!(!replaced.contains(id), "{replaced}");
    }

    #[test]
    fn x_request_id_that_contains_no_credentials_is_used_as_the_request_id() {
        let authorization = format!("Bearer {TOKEN}");
        assert_eq!(
            id_with_authorization(&[&authorization], &[b"Bearer-1"]),
            "Bearer-1"
        );
        let prefix = &TOKEN.as_bytes()[..8];
        assert_eq!(
            id_with_authorization(&[&authorization], &[prefix]),
            TOKEN[..8]
        );
    }
}
