//! TLS for the listener, with a certificate that may change while connections go on.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{task::spawn_blocking, time::sleep};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

/// How often the files are looked at. Renewals happen days before they have to.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Where the listener's certificate is. Both files are PEM.
///
/// They are looked at all the time: a renewed certificate is shown from the next handshake on,
/// and connections that are open stay open. Files that do not go together, or cannot be read, are
/// logged and change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those of the authorities between it and the root.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub private_key_file: PathBuf,
}

impl TlsFiles {
    /// Whether they can be used as they are now.
    ///
    /// # Errors
    /// When a file cannot be read, is not what it should be, or the key is not the certificate's.
    /// The message names the file, and nothing of what it holds.
    pub fn check(&self) -> io::Result<()> {
        self.read()?.certified_key(self).map(drop)
    }

    fn read(&self) -> io::Result<Contents> {
        let read = |file: &Path| {
            fs::read(file).map_err(|error| {
                let message = format!("{} cannot be read: {error}", file.display());
                io::Error::new(error.kind(), message)
            })
        };
        Ok(Contents {
            certificate: read(&self.certificate_file)?,
            private_key: Zeroizing::new(read(&self.private_key_file)?),
        })
    }
}

/// What stands in the files.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    private_key: Zeroizing<Vec<u8>>,
}

impl Contents {
    fn certified_key(&self, files: &TlsFiles) -> io::Result<CertifiedKey> {
        // What a parser would say may quote the file, which may hold a key.
        let unusable = |file: &Path, what: &str| {
            let message = format!("{} cannot be read as PEM with {what}", file.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| unusable(&files.certificate_file, "certificates"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.private_key)
            .map_err(|_| unusable(&files.private_key_file, "a private key"))?;
        CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| {
            let message = format!(
                "{} and {} do not go together: {error}",
                files.certificate_file.display(),
                files.private_key_file.display()
            );
            io::Error::new(io::ErrorKind::InvalidData, message)
        })
    }
}

/// The certificate that handshakes show now.
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

    /// A server that shows it: TLS 1.2 and 1.3, by the library's choice of cipher suites.
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

    /// Takes over what changes in the files, for good.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut seen = None;
        loop {
            let certificate = Arc::clone(&self);
            let looked = spawn_blocking(move || certificate.look(seen)).await;
            // A look that panicked has been logged as a bug; the next one begins anew.
            seen = looked.unwrap_or_default();
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Compares the files with what was seen last, and gives what is to be seen as last now.
    fn look(&self, seen: Option<Seen>) -> Option<Seen> {
        let now = self.files.read().map_err(|error| error.to_string());
        if seen.as_ref() == Some(&now) {
            return seen;
        }
        let is_first_look = seen.is_none();
        let loaded = match &now {
            Ok(contents) => contents
                .certified_key(&self.files)
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        match loaded {
            Ok(certified_key) => {
                self.current.store(Arc::new(certified_key));
                if !is_first_look {
                    tracing::info!("TLS certificate reloaded");
                }
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "TLS certificate not reloaded: the last good one stays"
                );
            }
        }
        Some(now)
    }
}

type Seen = Result<Contents, String>;

impl ResolvesServerCert for ReloadedCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}
