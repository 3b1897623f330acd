//! TLS to Redis: whom to trust, and how to prove who we are.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use thiserror::Error;

/// The machine's root certificates; those that cannot be read count for nothing.
static MACHINE_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
});

/// Whom to trust at the other end of a `rediss://` URL, and what to show it.
///
/// Without more, the machine's root certificates are trusted and nothing is shown. Files are PEM.
/// They are read anew for each connection, so that what was renewed is taken over without a
/// restart.
///
/// ```no_run
/// use tee_session_redis_adapter::{RedisSettings, RedisTls};
///
/// let tls = RedisTls::default()
///     .with_ca_file("/etc/redis-tls/ca.crt")
///     .with_client_certificate_files("/etc/redis-tls/tls.crt", "/etc/redis-tls/tls.key");
/// let settings = RedisSettings::new("rediss://redis.example:6379/0")?.with_tls(tls)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct RedisTls {
    ca_file: Option<PathBuf>,
    client_certificate: Option<ClientCertificate>,
}

#[derive(Debug, Clone)]
struct ClientCertificate {
    certificate_file: PathBuf,
    private_key_file: PathBuf,
}

impl RedisTls {
    /// Trusts the certificate authorities in this file, and no others.
    #[must_use]
    pub fn with_ca_file(mut self, ca_file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(ca_file.into());
        self
    }

    /// Shows the certificate in the first file, with its chain, to a Redis that asks for one
    /// (`tls-auth-clients`); the second holds its private key.
    #[must_use]
    pub fn with_client_certificate_files(
        mut self,
        certificate_file: impl Into<PathBuf>,
        private_key_file: impl Into<PathBuf>,
    ) -> Self {
        self.client_certificate = Some(ClientCertificate {
            certificate_file: certificate_file.into(),
            private_key_file: private_key_file.into(),
        });
        self
    }

    /// Reads the files as they are now.
    #[expect(
        clippy::expect_used,
        reason = "the library's provider serves the library's own protocol versions"
    )]
    pub(crate) fn client_config(&self) -> Result<ClientConfig, RedisTlsError> {
        let roots = match &self.ca_file {
            Some(file) => authorities(file)?,
            None => Arc::clone(&MACHINE_ROOTS),
        };
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3 are supported")
            .with_root_certificates(roots);
        let Some(shown) = &self.client_certificate else {
            return Ok(config.with_no_client_auth());
        };
        let unusable = |reason: String| RedisTlsError::ClientCertificate { reason };
        let chain = certificates(&shown.certificate_file).map_err(unusable)?;
        let key = PrivateKeyDer::from_pem_file(&shown.private_key_file)
            .map_err(|_| unusable(unreadable(&shown.private_key_file, "a private key")))?;
        config
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(error.to_string()))
    }
}

fn authorities(file: &Path) -> Result<Arc<RootCertStore>, RedisTlsError> {
    let unusable = |reason| RedisTlsError::Authorities { reason };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file).map_err(unusable)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

/// All certificates in a PEM file; one at least.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Option<Vec<_>> = CertificateDer::pem_file_iter(file)
        .ok()
        .and_then(|found| found.collect::<Result<_, _>>().ok());
    found
        .filter(|found| !found.is_empty())
        .ok_or_else(|| unreadable(file, "certificates"))
}

/// What a parser would say may quote the file, which may hold a key.
fn unreadable(file: &Path, what: &str) -> String {
    format!("{} cannot be read as PEM with {what}", file.display())
}

/// What TLS to Redis needs cannot be had. It names files, and nothing of what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedisTlsError {
    /// The URL is not one for TLS (`rediss://`, `rediss-sentinel://`, `rediss-cluster://`).
    #[error("TLS needs a Redis URL that begins with rediss")]
    NotATlsUrl,
    /// The certificate authorities to trust.
    #[error("the certificate authorities for Redis: {reason}")]
    Authorities {
        /// What is wrong with them.
        reason: String,
    },
    /// The client certificate or its private key.
    #[error("the client certificate for Redis: {reason}")]
    ClientCertificate {
        /// What is wrong with them.
        reason: String,
    },
}
