//! Settings of the upstream gateway.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};
use tee_session_api_server::{
    UpstreamSettings,
    upstream_client::{
        AddressPolicy, AllowedNetworks, ClientSettings, ExchangeLimitSettings, LoginSignals,
        Target, http::StatusCode,
    },
};
use url::Url;

use super::Reader;

/// Problem if this machine has no certificate authorities and sites may be called over https only.
/// The gateway could then verify no certificate of a site.
const NO_AUTHORITIES: &str = "this machine has no certificate authorities, so the gateway could call no \
     site: install them (the package ca-certificates), set the environment variable SSL_CERT_FILE or \
     SSL_CERT_DIR to their file or folder, or set upstream_tls_ca_file to a file with the authorities \
     of the sites";

impl Reader<'_> {
    /// Returns the settings of the upstream gateway. Returns `None` if the gateway is off.
    pub(super) fn upstream_settings(&mut self) -> Option<UpstreamSettings> {
        let networks: AllowedNetworks = self.by_name("upstream_allowed_networks");
        let allows_http = self.switch("upstream_allow_http");
        let addresses = AddressPolicy::default()
            .allow_http(allows_http)
            .allow_networks(networks);
        let max_response_bytes = self.number("upstream_max_response_bytes");
        let client = ClientSettings {
            user_agent: self.user_agent(),
            login: LoginSignals {
                paths: self.parsed("upstream_login_paths", parse_paths, Vec::new()),
                statuses: self.parsed("upstream_expired_statuses", parse_statuses, Vec::new()),
                markers: entries(self.sources.text("upstream_login_markers")).collect(),
            },
            response_timeout: Duration::from_millis(self.number("upstream_response_timeout_ms")),
            max_response_bytes: Some(max_response_bytes).filter(|limit| *limit > 0),
            ..ClientSettings::default()
        };
        let limits = ExchangeLimitSettings {
            max_in_flight: self.number("upstream_max_in_flight"),
            session_concurrency: self.number("upstream_session_concurrency"),
            ..ExchangeLimitSettings::default()
        };
        let max_request_bytes = self.number("upstream_max_request_bytes");
        if !self.switch("upstream_gateway") {
            return None;
        }
        let LoginSignals {
            paths,
            statuses,
            markers,
        } = &client.login;
        if paths.is_empty() && !(statuses.is_empty() && markers.is_empty()) {
            self.problem(
                "upstream_login_paths",
                "upstream_expired_statuses and upstream_login_markers require the paths of the login \
                 pages, because the answers to a login would otherwise be taken for its end",
            );
        }
        let roots = match self.file("upstream_tls_ca_file") {
            Some(file) => {
                let roots = self.or_problem("upstream_tls_ca_file", authorities(&file))?;
                Arc::new(roots)
            }
            None => {
                let (roots, error) = machine_roots();
                if roots.is_empty() && !allows_http {
                    let error = error.map_or_else(String::new, |error| format!(" ({error})"));
                    let problem = format!("{NO_AUTHORITIES}{error}");
                    self.problem("upstream_tls_ca_file", problem);
                }
                roots
            }
        };
        Some(UpstreamSettings {
            tls: Arc::new(tls(roots)),
            addresses,
            client,
            limits,
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

/// Returns the entries of a list, which are separated by commas.
fn entries(text: &str) -> impl Iterator<Item = String> {
    let entries = text.split(',').map(str::trim);
    entries.filter(|entry| !entry.is_empty()).map(str::to_owned)
}

fn parse_paths(text: &str) -> Result<Vec<String>, &'static str> {
    // Redirects are parsed as URLs, in which other characters are percent-encoded.
    let is_url_path = |path: &str| {
        let url = Url::parse("https://site").and_then(|site| site.join(path));
        url.is_ok_and(|url| url.path() == path)
    };
    let is_path = |path: &String| {
        let target = Target::parse(path);
        let is_target = target.is_ok_and(|target| target.path() == path);
        is_target && is_url_path(path) && !path.contains([';', '*'])
    };
    // Paths are compared exactly, so a `*` would be no wildcard.
    let paths: Vec<_> = entries(text).collect();
    if paths.iter().all(is_path) {
        Ok(paths)
    } else {
        Err(
            "the paths must begin with a slash, be percent-encoded as the site sends them, and \
             have no query, no semicolon and no *",
        )
    }
}

fn parse_statuses(text: &str) -> Result<Vec<StatusCode>, &'static str> {
    let parse = |status: String| {
        let status = status
            .parse()
            .ok()
            .filter(|status| (200..500).contains(status));
        status.and_then(|status| StatusCode::from_u16(status).ok())
    };
    let statuses: Option<Vec<_>> = entries(text).map(parse).collect();
    statuses.ok_or("the statuses must be numbers from 200 to 499, such as 401, 419")
}

/// Returns the root certificates that this machine trusts. Ignores certificates that cannot be
/// read, and also returns the first error.
fn machine_roots() -> (Arc<RootCertStore>, Option<rustls_native_certs::Error>) {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    (Arc::new(roots), found.errors.into_iter().next())
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
