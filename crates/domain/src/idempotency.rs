//! Identity of a request that a client may repeat, and the stored record of such a request.

use std::{fmt, time::Duration};

use hmac::Mac;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    DerivedKey, EntityTag, SessionToken,
    hkdf::{expand, extract, keyed},
    short_text,
};

/// HKDF label (`info` input) with which the id of an idempotency record is derived.
const ID_LABEL: &[u8] = b"idempotency id";

/// HKDF label (`info` input) with which the encryption key of an idempotency record is derived.
const SEALING_KEY_LABEL: &[u8] = b"idempotency record key";

/// HKDF label (`info` input) with which the key for request fingerprints is derived.
const FINGERPRINT_LABEL: &[u8] = b"idempotency fingerprint";

/// Identity of a request that a client may repeat: the operation, the credential of the client, and
/// the `Idempotency-Key` header field.
///
/// The id and the encryption key of the stored record are derived from these three values with
/// HKDF-SHA-256 (RFC 5869). A reader of the store can therefore recover none of these values. A
/// client with another credential cannot find or read the record.
///
/// ```
/// use tee_session_domain::IdempotencyKey;
///
/// let key = IdempotencyKey::derive("create", b"client:secret", b"8e03978e-40d5-43dd");
/// assert_eq!(key.id().to_string().len(), 22);
/// let other = IdempotencyKey::derive("create", b"client:other", b"8e03978e-40d5-43dd");
/// assert_ne!(key.id(), other.id());
/// ```
pub struct IdempotencyKey {
    id: IdempotencyId,
    sealing_key: DerivedKey,
    fingerprint_key: DerivedKey,
}

impl IdempotencyKey {
    /// Derives the identity. `operation` is the name of the operation, `credential` is the secret
    /// of the client, and `key` is the value of the `Idempotency-Key` header field.
    #[must_use]
    pub fn derive(operation: &str, credential: &[u8], key: &[u8]) -> Self {
        let mut secret = Zeroizing::new(Vec::with_capacity(
            operation.len() + credential.len() + key.len() + 16,
        ));
        // Each part is preceded by its length, so that no two different triples have equal bytes.
        for part in [operation.as_bytes(), credential] {
            secret.extend_from_slice(&(part.len() as u64).to_be_bytes());
            secret.extend_from_slice(part);
        }
        secret.extend_from_slice(key);
        let key = extract(&secret);
        Self {
            id: IdempotencyId(expand(&key, ID_LABEL)),
            sealing_key: DerivedKey::new(expand(&key, SEALING_KEY_LABEL)),
            fingerprint_key: DerivedKey::new(expand(&key, FINGERPRINT_LABEL)),
        }
    }

    /// Returns the id under which the record is stored.
    #[must_use]
    pub fn id(&self) -> IdempotencyId {
        self.id
    }

    /// Returns the key with which a store encrypts the record.
    #[must_use]
    pub fn sealing_key(&self) -> &DerivedKey {
        &self.sealing_key
    }

    /// Returns a fingerprint of a request body: 16 bytes of HMAC-SHA-256. Requests with the same
    /// fingerprint have the same body.
    #[must_use]
    pub fn fingerprint(&self, body: &[u8]) -> Fingerprint {
        let mut mac = keyed(self.fingerprint_key.expose_secret());
        mac.update(body);
        let whole = mac.finalize().into_bytes();
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&whole[..16]);
        Fingerprint(fingerprint)
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({})", self.id)
    }
}

/// Public id of an idempotency record. The text form has 22 characters of base64url without padding
/// (RFC 4648, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyId([u8; 16]);

impl IdempotencyId {
    /// Returns the sixteen bytes of the id.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for IdempotencyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(short_text::encode(&self.0, &mut [0; short_text::TEXT_LEN]))
    }
}

/// Fingerprint of a request body, computed with [`IdempotencyKey::fingerprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 16]);

/// A request with an `Idempotency-Key`, as the session manager needs it.
#[derive(Debug)]
pub struct IdempotentRequest {
    /// Identity of the request.
    pub key: IdempotencyKey,
    /// Fingerprint of the request body.
    pub fingerprint: Fingerprint,
    /// Time after which the operation is certainly no longer running. If the operation has stored
    /// no result by then, the next repetition of the request finishes the operation.
    pub lease: Duration,
}

/// Stored record of a request that a client may repeat. The record contains a session token, so it
/// is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// Fingerprint of the request body.
    pub fingerprint: Fingerprint,
    /// Token that the operation gives to its session.
    pub token: SessionToken,
    /// Progress of the operation of the request.
    pub state: IdempotencyState,
}

/// Progress of an operation with an `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdempotencyState {
    /// The operation is running, or has failed with an unknown outcome. From `until` on, a
    /// repetition may finish the operation.
    Running {
        /// End of the lease of the running operation, on the store's clock.
        until: OffsetDateTime,
    },
    /// The operation has succeeded, with this result.
    Done(IdempotentResult),
}

/// Result of a successful operation, without the token of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotentResult {
    /// Time from the end of the operation to `expires_at`.
    pub ttl: Duration,
    /// Expiry time of the session, on the store's clock. An access before then can extend it.
    pub expires_at: OffsetDateTime,
    /// Entity tag of the session when the operation ended.
    pub tag: EntityTag,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn key() -> IdempotencyKey {
        IdempotencyKey::derive("create", b"secret", b"0123456789abcdef")
    }

    #[rstest]
    #[case::operation("rotate", "secret", "0123456789abcdef")]
    #[case::credential("create", "Secret", "0123456789abcdef")]
    #[case::header("create", "secret", "0123456789abcdeg")]
    #[case::boundary("create", "secret0", "123456789abcdef")]
    fn idempotency_id_and_keys_depend_on_operation_credential_and_header(
        #[case] operation: &str,
        #[case] credential: &str,
        #[case] header: &str,
    ) {
        let other = IdempotencyKey::derive(operation, credential.as_bytes(), header.as_bytes());
        assert_ne!(other.id(), key().id());
        assert_ne!(
            other.sealing_key().expose_secret(),
            key().sealing_key().expose_secret()
        );
        assert_ne!(other.fingerprint(b"body"), key().fingerprint(b"body"));
    }

    #[test]
    fn same_request_has_the_same_idempotency_id_and_fingerprint() {
        assert_eq!(key().id(), key().id());
        assert_eq!(key().fingerprint(b"body"), key().fingerprint(b"body"));
        assert_ne!(key().fingerprint(b"body"), key().fingerprint(b"Body"));
    }

    #[test]
    fn debug_output_of_an_idempotency_key_shows_only_its_id() {
        let key = key();
        assert_eq!(format!("{key:?}"), format!("IdempotencyKey({})", key.id()));
    }
}
