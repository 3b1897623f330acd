//! TLS for the listener, with a certificate that is reloaded when its files change.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use metrics::gauge;
use tokio::{task::spawn_blocking, time::sleep};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use crate::server::{
    certificate_expiry::{LoggedWarnings, parse_chain, set_expiry_metric},
    regular_file::read_regular_file,
};

/// Interval at which the certificate file and the private key file are checked for changes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Files of the listener's certificate and private key, in PEM format.
///
/// While the server runs, both files are checked for changes every second. A renewed certificate is
/// used for new handshakes; open connections stay open. If the new private key does not match the
/// new certificate, or if a file cannot be read, an error is logged and the previous certificate
/// stays in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// File with the certificate, followed by the intermediate certificates.
    pub certificate_file: PathBuf,
    /// File with the private key of the listener's certificate.
    pub private_key_file: PathBuf,
}

impl TlsFiles {
    /// Checks that the certificate and the private key in the files can be used for TLS.
    ///
    /// # Errors
    /// Fails in each of these cases:
    /// - A file is not a regular file of at most 1 MiB, or cannot be read.
    /// - A file does not contain a certificate or a private key in PEM format.
    /// - The private key does not match the certificate.
    ///
    /// The error message names the file but does not quote its contents.
    pub fn check(&self) -> io::Result<()> {
        self.read()?.certified_key(self).map(drop)
    }

    fn read(&self) -> io::Result<Contents> {
        let read = |file: &Path| {
            read_regular_file(file).map_err(|error| {
                let message = format!("{} cannot be read: {error}", file.display());
                io::Error::new(error.kind(), message)
            })
        };
        Ok(Contents {
            certificate: read(&self.certificate_file)?,
            private_key: read(&self.private_key_file)?,
        })
    }
}

/// Contents of the certificate file and of the private key file.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Zeroizing<Vec<u8>>,
    private_key: Zeroizing<Vec<u8>>,
}

impl Contents {
    fn certified_key(&self, files: &TlsFiles) -> io::Result<CertifiedKey> {
        // The error message of the parser is not passed on, because it may quote the private key.
        let unusable = |file: &Path, what: &str| {
            let message = format!("{} cannot be read as PEM with {what}", file.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        let chain = parse_chain(&self.certificate)
            .ok_or_else(|| unusable(&files.certificate_file, "certificates"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.private_key)
            .map_err(|_| unusable(&files.private_key_file, "a private key"))?;
        CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| {
            let message = format!(
                "certificate {} and private key {} do not match: {error}",
                files.certificate_file.display(),
                files.private_key_file.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }
}

/// Certificate for new TLS handshakes. The certificate is reloaded when its files change.
#[derive(Debug)]
pub(crate) struct ReloadedCertificate {
    files: TlsFiles,
    current: ArcSwap<CertifiedKey>,
}

impl ReloadedCertificate {
    pub(crate) fn load(files: TlsFiles) -> io::Result<Arc<Self>> {
        let certified_key = files.read()?.certified_key(&files)?;
        Ok(Arc::new(Self {
            files,
            current: ArcSwap::from_pointee(certified_key),
        }))
    }

    /// Creates a TLS server configuration. Each handshake uses the certificate that was loaded
    /// last. The configuration allows TLS 1.2 and 1.3 with the default cipher suites of `rustls`.
    pub(crate) fn server_config(self: &Arc<Self>) -> io::Result<Arc<ServerConfig>> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reloads the certificate whenever its files change. Logs a warning if a certificate has
    /// expired, expires soon or is not valid yet. Never completes.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut last = None;
        let mut warnings = LoggedWarnings::new(self.files.certificate_file.clone());
        loop {
            let certificate = Arc::clone(&self);
            let checked = spawn_blocking(move || certificate.reload_if_changed(last)).await;
            // If the check has panicked, the panic hook has already logged the panic. The next
            // check then runs like a first check, without a previous result.
            last = checked.unwrap_or_default();
            let current = self.current.load_full();
            set_expiry_metric(&current.cert);
            warnings.check(&current.cert, Instant::now());
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Reads the certificate file and the private key file, and returns the result. If this result
    /// differs from `last`, the result of the previous check, also loads the certificate. If the
    /// certificate cannot be loaded, logs an error and keeps the current certificate.
    fn reload_if_changed(&self, last: Option<ReadResult>) -> Option<ReadResult> {
        let now = self.files.read().map_err(|error| error.to_string());
        if last.as_ref() == Some(&now) {
            return last;
        }
        let is_first_check = last.is_none();
        let loaded = match &now {
            Ok(contents) => contents
                .certified_key(&self.files)
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        gauge!("tee_session_last_reload_successful", "file" => "tls_certificate_file")
            .set(f64::from(u8::from(loaded.is_ok())));
        match loaded {
            Ok(certified_key) => {
                self.current.store(Arc::new(certified_key));
                if !is_first_check {
                    tracing::info!("TLS certificate reloaded");
                }
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "TLS certificate not reloaded: the previous certificate stays in use"
                );
            }
        }
        Some(now)
    }
}

type ReadResult = Result<Contents, String>;

impl ResolvesServerCert for ReloadedCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}
