//! The secret of a service client: made here, and known afterwards by its SHA-256 only.

use std::fmt;

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// A new random secret for a service client: 256 bits in base64url, 43 characters.
///
/// It has no `Display`, its `Debug` shows nothing of it, and its memory is wiped when it is
/// dropped.
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
    /// Makes one from the operating system's random source.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "without randomness there are no secrets: stop"
    )]
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes).expect("the operating system gives randomness");
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
    }

    /// The secret: for its client, and for nobody else.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.0
    }

    /// Its SHA-256 in hexadecimal digits, which is what settings hold.
    #[must_use]
    pub fn sha256(&self) -> String {
        let hash = digest::digest(&digest::SHA256, self.0.as_bytes());
        let digits = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret([redacted])")
    }
}
