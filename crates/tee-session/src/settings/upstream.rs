//! Settings of the upstream gateway.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};
use tee_session_api_server::{
    UpstreamSettings,
    upstream_client::{AddressPolicy, AllowedNetworks, BoundsSettings, ClientSettings},
};

use super::Reader;

impl Reader<'_> {
    /// Returns the settings of the upstream gateway. Returns `None` if it is off.
    pub(super) fn upstream_settings(&mut self) -> Option<UpstreamSettings> {
        let networks: AllowedNetworks = self.by_name("upstream_allowed_networks");
        let addresses = AddressPolicy::default()
            .allow_http(self.switch("upstream_allow_http"))
            .allow_networks(networks);
        let max_response_bytes = self.number("upstream_max_response_bytes");
        let client = ClientSettings {
            user_agent: self.user_agent(),
            response_timeout: Duration::from_millis(self.number("upstream_response_timeout_ms")),
            max_response_bytes: Some(max_response_bytes).filter(|limit| *limit > 0),
            ..ClientSettings::default()
        };
        let bounds = BoundsSettings {
            max_in_flight: self.number("upstream_max_in_flight"),
            session_concurrency: self.number("upstream_session_concurrency"),
            ..BoundsSettings::default()
        };
        let max_request_bytes = self.number("upstream_max_request_bytes");
        if !self.switch("upstream_gateway") {
            return None;
        }
        let roots = match self.file("upstream_tls_ca_file") {
            Some(file) => {
                let roots = self.or_problem("upstream_tls_ca_file", authorities(&file))?;
                Arc::new(roots)
            }
            None => machine_roots(),
        };
        Some(UpstreamSettings {
            tls: Arc::new(tls(roots)),
            addresses,
            client,
            bounds,
            max_request_bytes,
        })
    }

    fn user_agent(&mut self) -> Option<String> {
        let parse = |text: &str| {
            let is_visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            if is_visible && text.trim() == text {
                Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
            } else {
                Err("the value must be visible ASCII without spaces around it")
            }
        };
        self.parsed("upstream_user_agent", parse, None)
    }
}

/// Returns the root certificates of this machine. Certificates that cannot be read are ignored.
fn machine_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
}

/// Reads the certificate authorities in a PEM file.
fn authorities(file: &Path) -> Result<RootCertStore, String> {
    // The error of the PEM parser is not used: its text may repeat content of the file.
    let unreadable = || format!("{} cannot be read as PEM with certificates", file.display());
    let found = CertificateDer::pem_file_iter(file).map_err(|_| unreadable())?;
    let mut roots = RootCertStore::empty();
    for certificate in found {
        let added = roots.add(certificate.map_err(|_| unreadable())?);
        added.map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if roots.is_empty() {
        return Err(unreadable());
    }
    Ok(roots)
}

#[expect(
    clippy::expect_used,
    reason = "the library's provider serves the library's own protocol versions"
)]
fn tls(roots: Arc<RootCertStore>) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3 are supported")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
