//! A certificate authority for tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use tempfile::TempDir;
use time::OffsetDateTime;

/// A private certificate authority for tests. Dropping this value deletes all files of the
/// authority.
pub struct TestAuthority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Paths of a certificate and its private key, each in a PEM file. Certificates that were issued by
/// [`TestAuthority::issue_for_host`] and [`TestAuthority::issue_without_subject`] are valid only for
/// the given hosts. All other certificates are valid for `localhost` and `127.0.0.1`.
pub struct IssuedCertificate {
    /// Path of the certificate file, in PEM format.
    pub certificate_file: PathBuf,
    /// Path of the private key file, in PEM format.
    pub private_key_file: PathBuf,
}

impl Default for TestAuthority {
    fn default() -> Self {
        Self::new()
    }
}

impl TestAuthority {
    /// Creates a certificate authority with a new key pair, which no client or server trusts by
    /// default.
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

    /// Returns the path of the CA certificate file. Clients and servers need the file to trust
    /// certificates of this authority.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Issues a certificate for `localhost` and `127.0.0.1`, with the common name `name`.
    #[must_use]
    pub fn issue(&self, name: &str) -> IssuedCertificate {
        let files = self.files(name);
        self.issue_to(name, &files);
        files
    }

    /// Issues a certificate that is valid only for `host`.
    #[must_use]
    pub fn issue_for_host(&self, host: &str) -> IssuedCertificate {
        let files = self.files(host);
        self.sign(host, &[host], &files);
        files
    }

    /// Issues a certificate for `localhost` and `127.0.0.1` that expires at `expires_at`.
    #[must_use]
    pub fn issue_until(&self, name: &str, expires_at: OffsetDateTime) -> IssuedCertificate {
        let files = self.files(name);
        self.sign_with(name, &["localhost", "127.0.0.1"], &files, |params| {
            params.not_after = expires_at;
        });
        files
    }

    /// Issues a certificate for `localhost` and `127.0.0.1` that is valid from `valid_from` until
    /// `expires_at`.
    #[must_use]
    pub fn issue_between(
        &self,
        name: &str,
        valid_from: OffsetDateTime,
        expires_at: OffsetDateTime,
    ) -> IssuedCertificate {
        let files = self.files(name);
        self.sign_with(name, &["localhost", "127.0.0.1"], &files, |params| {
            params.not_before = valid_from;
            params.not_after = expires_at;
        });
        files
    }

    /// Issues a certificate with an empty subject for `hosts`, which expires at `expires_at`.
    #[must_use]
    pub fn issue_without_subject(
        &self,
        hosts: &[&str],
        expires_at: OffsetDateTime,
    ) -> IssuedCertificate {
        let files = self.files("without-subject");
        self.sign_with("", hosts, &files, |params| {
            params.distinguished_name = DistinguishedName::new();
            params.not_after = expires_at;
        });
        files
    }

    /// Issues a new certificate for `localhost` and `127.0.0.1`, with the common name `name`. The
    /// new certificate and its private key replace the contents of `files`.
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
        self.sign_with(name, hosts, files, |_| {});
    }

    fn sign_with(
        &self,
        name: &str,
        hosts: &[&str],
        files: &IssuedCertificate,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("valid host names");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().expect("a key pair");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        replace(&files.private_key_file, &key.serialize_pem());
        replace(&files.certificate_file, &certificate.pem());
    }
}

/// Replaces the contents of `file` by `text`. The replacement is atomic, so that no reader gets a
/// half-written file.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("a writable folder");
    fs::rename(new, file).expect("a writable folder");
}
