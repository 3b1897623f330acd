//! Generation of secrets for service clients. The service stores only the SHA-256 of a secret.

use std::fmt;

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// A new random secret for a service client: 256 bits in base64url, 43 characters.
///
/// The type does not implement `Display`, and its `Debug` output does not contain the secret. The
/// memory of the secret is wiped on drop.
///
/// ```
/// use tee_session_api_server::{ClientSecret, Scope, ServiceClient};
///
/// let secret = ClientSecret::generate();
/// assert_eq!(secret.expose_secret().len(), 43);
/// assert!(ServiceClient::new("ci", &[secret.sha256()], vec![Scope::Create]).is_ok());
/// ```
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// Generates a secret from the random source of the operating system.
    ///
    /// # Panics
    /// Panics if the operating system provides no random bytes.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "without random bytes no secret can be generated"
    )]
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes).expect("the operating system provides random bytes");
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
    }

    /// Returns the text of the secret. Give this text only to the service client that will use the
    /// secret.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }

    /// Returns the SHA-256 of the secret as 64 hexadecimal digits.
    /// [`ServiceClient::new`](crate::ServiceClient::new) and the settings of the service expect
    /// this format.
    #[must_use]
    pub fn sha256(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, self.0.as_bytes()))
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}
