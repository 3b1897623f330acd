//! Tests of HTTPS, and of the renewal of the certificate while connections are open.

use std::{fs, sync::Arc, time::Duration};

use reqwest::{Certificate, Client, StatusCode};
use tee_session_api_server::{ApiSettings, TlsFiles};
use tee_session_test_support::{IssuedCertificate, TestAuthority, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs::default_provider,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::test_app::{Store, TestApp};

const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

pub(crate) struct TlsApp {
    pub(crate) app: TestApp,
    authority: TestAuthority,
    files: IssuedCertificate,
}

impl TlsApp {
    async fn spawn() -> Self {
        Self::spawn_with(|_| {}).await
    }

    /// Starts the application with TLS. `change` changes the settings before the start.
    pub(crate) async fn spawn_with(change: impl FnOnce(&mut ApiSettings)) -> Self {
        let authority = TestAuthority::new();
        let files = authority.issue("first");
        let tls = TlsFiles {
            certificate_file: files.certificate_file.clone(),
            private_key_file: files.private_key_file.clone(),
        };
        let mut app = TestApp::builder()
            .with(|settings| settings.tls = Some(tls))
            .with(change)
            .start(Store::Memory)
            .await;
        let root = fs::read(authority.ca_file()).unwrap();
        let root = Certificate::from_pem(&root).unwrap();
        app.client = Client::builder().tls_certs_only([root]).build().unwrap();
        app.scheme = "https";
        app.until_ready().await;
        Self {
            app,
            authority,
            files,
        }
    }

    /// Opens a new TLS connection. Returns the connection and the certificate that the server sent.
    async fn connect(&self) -> (TlsStream<TcpStream>, CertificateDer<'static>) {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(self.authority.ca_file()).unwrap();
        roots.add(root).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(self.app.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await.unwrap();
        let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        (stream, certificate)
    }

    async fn until_certificate_differs_from(&self, old: &CertificateDer<'_>) {
        eventually(RELOAD_TIMEOUT, async || self.connect().await.1 != *old).await;
    }
}

async fn get_live(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(LIVE).await.unwrap();
    let mut answer = [0; 1_024];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test]
async fn session_is_created_read_and_deleted_over_https() {
    let tls = TlsApp::spawn().await;
    let token = tls.app.log_in().await;
    assert_eq!(tls.app.get_session(&token).await.status(), StatusCode::OK);
    assert_eq!(
        tls.app.log_out(&token).await.status(),
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn renewed_certificate_is_used_for_new_connections_and_open_connections_continue() {
    let tls = TlsApp::spawn().await;
    let (mut open, first) = tls.connect().await;
    assert_eq!(
        open.get_ref().1.alpn_protocol(),
        Some(b"http/1.1".as_slice())
    );
    assert!(get_live(&mut open).await.starts_with("HTTP/1.1 200 "));
    tls.authority.issue_to("second", &tls.files);
    tls.until_certificate_differs_from(&first).await;
    assert!(get_live(&mut open).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn last_valid_certificate_is_used_while_the_certificate_files_are_invalid() {
    let tls = TlsApp::spawn().await;
    let (_, first) = tls.connect().await;
    fs::write(&tls.files.private_key_file, "garbage").unwrap();
    fs::remove_file(&tls.files.certificate_file).unwrap();
    // Waits longer than the interval at which the service checks the certificate files.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(tls.connect().await.1, first);
    tls.authority.issue_to("second", &tls.files);
    tls.until_certificate_differs_from(&first).await;
}

#[tokio::test]
async fn connection_without_a_tls_handshake_is_closed_without_a_response() {
    let tls = TlsApp::spawn().await;
    let started = Instant::now();
    let mut silent = TcpStream::connect(tls.app.address).await.unwrap();
    let mut plain = TcpStream::connect(tls.app.address).await.unwrap();
    plain.write_all(LIVE).await.unwrap();
    for stream in [&mut plain, &mut silent] {
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(8), stream.read_to_end(&mut answer)).await;
        let _ = ended.expect("the connection ends");
        assert!(!answer.starts_with(b"HTTP"));
    }
    assert!(started.elapsed() < Duration::from_secs(6));
}
