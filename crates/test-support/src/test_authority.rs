//! Certificates for tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// A private certificate authority; its files are gone when it is dropped.
pub struct TestAuthority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate, as a rule for `localhost` and `127.0.0.1`, and its key, as PEM files.
pub struct IssuedCertificate {
    /// The certificate.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub private_key_file: PathBuf,
}

impl Default for TestAuthority {
    fn default() -> Self {
        Self::new()
    }
}

impl TestAuthority {
    /// A new one that nobody knows yet.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Test authority");
        let key = KeyPair::generate().expect("a key pair");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("ca.crt"), issuer.pem()).expect("a writable folder");
        Self { folder, issuer }
    }

    /// Its own certificate, for those who are to trust it.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Issues a certificate whose subject is `name`.
    #[must_use]
    pub fn issue(&self, name: &str) -> IssuedCertificate {
        let files = self.files(name);
        self.issue_to(name, &files);
        files
    }

    /// Issues a certificate for another host than this one.
    #[must_use]
    pub fn issue_for_host(&self, host: &str) -> IssuedCertificate {
        let files = self.files(host);
        self.sign(host, &[host], &files);
        files
    }

    /// Issues a certificate whose subject is `name` in place of the one in these files.
    pub fn issue_to(&self, name: &str, files: &IssuedCertificate) {
        self.sign(name, &["localhost", "127.0.0.1"], files);
    }

    fn files(&self, name: &str) -> IssuedCertificate {
        IssuedCertificate {
            certificate_file: self.folder.path().join(format!("{name}.crt")),
            private_key_file: self.folder.path().join(format!("{name}.key")),
        }
    }

    fn sign(&self, name: &str, hosts: &[&str], files: &IssuedCertificate) {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("sound names");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key pair");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        replace(&files.private_key_file, &key.serialize_pem());
        replace(&files.certificate_file, &certificate.pem());
    }
}

/// As a careful administrator does it: a file is never seen half written.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("a writable folder");
    fs::rename(new, file).expect("a writable folder");
}
