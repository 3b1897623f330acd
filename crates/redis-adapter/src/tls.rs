//! TLS settings for connections to Redis: trusted certificate authorities and the client
//! certificate.

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
use zeroize::Zeroizing;

use crate::regular_file::read_regular_file;

/// Root certificates of this machine. Certificates that cannot be read are ignored.
static MACHINE_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
});

/// TLS settings for a `rediss://` URL: trusted certificate authorities and a client certificate.
///
/// By default, the root certificates of the machine are trusted and no client certificate is sent.
/// All certificate and key files must be regular files of at most 1 MiB, in PEM format. The files
/// are read again for each connection, so renewed certificates take effect without a restart.
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
    /// Trusts only the certificate authorities in `ca_file`, instead of the root certificates of
    /// the machine.
    #[must_use]
    pub fn with_ca_file(mut self, ca_file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(ca_file.into());
        self
    }

    /// Sends the certificate in `certificate_file`, with its chain, to a Redis that requires a
    /// client certificate (`tls-auth-clients`). `private_key_file` contains the private key of the
    /// certificate.
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

    pub(crate) fn trusts_machine_only(&self) -> bool {
        self.ca_file.is_none()
    }

    /// Builds the TLS configuration from the current content of the certificate and key files.
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
        let Some(client) = &self.client_certificate else {
            return Ok(config.with_no_client_auth());
        };
        let unusable = |reason: String| RedisTlsError::ClientCertificate { reason };
        let chain = certificates(&client.certificate_file).map_err(unusable)?;
        let key_file = &client.private_key_file;
        let key = PrivateKeyDer::from_pem_slice(&content(key_file).map_err(unusable)?)
            .map_err(|_| unusable(not_pem(key_file, "a private key")))?;
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

/// Reads all certificates in a PEM file. Returns an error text if the file contains no
/// certificates.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let content = content(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| not_pem(file, "certificates"))
}

fn content(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    read_regular_file(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

/// Returns the error text for a file that cannot be read as PEM. The error of the PEM parser is not
/// used, because its text may repeat content of the file. The file may contain a private key.
fn not_pem(file: &Path, what: &str) -> String {
    format!("{} cannot be read as PEM with {what}", file.display())
}

/// Error in the TLS settings for Redis. The error text may name a file, but never repeats the
/// content of a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedisTlsError {
    /// The URL has no TLS scheme (`rediss://`, `rediss-sentinel://`, `rediss-cluster://`).
    #[error(
        "TLS settings require a Redis URL with the scheme rediss, rediss-sentinel or rediss-cluster"
    )]
    NotATlsUrl,
    /// The certificate authorities cannot be used.
    #[error("the certificate authorities for Redis cannot be used: {reason}")]
    Authorities {
        /// Reason why the certificate authorities cannot be used.
        reason: String,
    },
    /// The client certificate or its private key cannot be used.
    #[error("the client certificate for Redis cannot be used: {reason}")]
    ClientCertificate {
        /// Reason why the client certificate cannot be used.
        reason: String,
    },
}
