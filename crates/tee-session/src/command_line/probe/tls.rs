//! Rules by which `tee-session probe` accepts the certificate of an instance.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        WebPkiSupportedAlgorithms, aws_lc_rs::default_provider, verify_tls12_signature,
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Rule for accepting the certificate of an instance.
#[derive(Debug, Clone)]
pub(super) enum Trust {
    /// Accepts any certificate. The probe uses this rule for an instance on the same machine. This
    /// is safe, because the probe sends no secret, and reads only a status code.
    Any,
    /// Accepts a certificate only if it is valid for the host name, and if this machine trusts the
    /// certificate authority that issued it.
    Machine,
}

impl Trust {
    pub(super) fn client_config(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let provider = Arc::new(default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match self {
            Self::Any => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate { algorithms })),
            Self::Machine => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                builder.with_root_certificates(roots)
            }
        };
        Ok(Arc::new(builder.with_no_client_auth()))
    }
}

/// Verifier that accepts any server certificate. An instance can be healthy although its
/// certificate has expired, or although the certificate file already contains a newer certificate.
/// A stricter verifier would make the probe fail in these cases, and the instance could be
/// restarted.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
