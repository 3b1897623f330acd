//! Credentials of a service client.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// The id and the secret of a service client.
pub(crate) struct Credentials {
    id: String,
    secret: Zeroizing<String>,
}

impl Credentials {
    pub(crate) fn new(id: String, secret: String) -> Self {
        let secret = Zeroizing::new(secret);
        Self { id, secret }
    }

    /// Returns the value of the `Authorization` header field (HTTP Basic, RFC 7617).
    pub(crate) fn basic(&self) -> Zeroizing<String> {
        let pair = Zeroizing::new(format!("{}:{}", self.id, *self.secret));
        let encoded = Zeroizing::new(STANDARD.encode(&*pair));
        Zeroizing::new(format!("Basic {}", *encoded))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, [redacted])", self.id)
    }
}
