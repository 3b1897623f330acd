//! Tests of sites with TLS.

use std::{error::Error, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rstest::rstest;
use tee_session_upstream::{
    Client, ClientSettings, ConnectError, Lookup, LookupFuture, Outcome, Site, UpstreamError,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::test_site::{OK, TestSite, get, local_policy, text};

/// Resolver that returns a loopback address for every host name.
struct Local;

impl Lookup for Local {
    fn addresses(&self, _name: String) -> LookupFuture {
        Box::pin(async { Ok(vec![[127, 0, 0, 1].into()]) })
    }
}

/// Starts a site with a certificate for the host names `names`. Returns the site and the
/// certificate.
async fn tls_site(names: &[&str]) -> (TestSite, CertificateDer<'static>) {
    let (acceptor, certificate) = acceptor(names);
    (site_behind(acceptor).await, certificate)
}

async fn site_behind(acceptor: TlsAcceptor) -> TestSite {
    TestSite::start(move |stream, seen| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            while seen.read_request(&mut stream).await.is_some() {
                let _ = stream.write_all(OK.as_bytes()).await;
            }
        }
    })
    .await
}

/// Returns a TLS acceptor with a certificate for the host names `names`, and that certificate.
pub(crate) fn acceptor(names: &[&str]) -> (TlsAcceptor, CertificateDer<'static>) {
    acceptor_with(names, IsCa::NoCa)
}

fn acceptor_with(names: &[&str], is_ca: IsCa) -> (TlsAcceptor, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = is_ca;
    let certificate = params.self_signed(&key).unwrap();
    let certificate = certificate.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), certificate)
}

pub(crate) fn client(trusted: Option<CertificateDer<'static>>, settings: ClientSettings) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted);
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::with_lookup(Arc::new(tls), local_policy(), settings, Arc::new(Local))
}

pub(crate) fn site(server: &TestSite, host: &str) -> Site {
    Site::of_url(&format!("https://{host}:{}", server.address().port())).unwrap()
}

#[rstest]
#[case("golf.example")]
#[case("golf.example.")]
#[case("127.0.0.1")]
#[tokio::test]
async fn site_with_a_valid_certificate_is_called_over_one_connection(#[case] host: &str) {
    let (server, certificate) = tls_site(&["golf.example", "127.0.0.1"]).await;
    let client = client(Some(certificate), ClientSettings::default());
    for _ in 0..3 {
        let answer = get(&client, &site(&server, host), "/").await.unwrap();
        assert_eq!(text(answer).await.unwrap(), "ok");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.seen().connections(), 1);
    assert_eq!(server.seen().total(), 3);
}

#[rstest]
#[case::another_name("evil.example", true)]
#[case::subdomain("www.golf.example", true)]
#[case::untrusted("golf.example", false)]
#[tokio::test]
async fn site_with_an_invalid_certificate_gets_no_request(
    #[case] host: &str,
    #[case] is_trusted: bool,
) {
    let (server, certificate) = tls_site(&["golf.example"]).await;
    let client = client(
        Some(certificate).filter(|_| is_trusted),
        ClientSettings::default(),
    );
    let error = get(&client, &site(&server, host), "/").await.unwrap_err();
    let UpstreamError::Unreachable(reason) = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(**reason, ConnectError::Tls(_)), "{reason:?}");
    assert_eq!(error.outcome(), Outcome::NotSent);
    assert_eq!(server.seen().total(), 0);
}

/// rustls reports that a server uses a CA certificate only by the text `CaUsedAsEndEntity`. The
/// advice for operators depends on this text.
#[tokio::test]
async fn site_whose_certificate_is_a_ca_certificate_gets_no_request() {
    let authority = IsCa::Ca(BasicConstraints::Unconstrained);
    let (acceptor, certificate) = acceptor_with(&["golf.example"], authority);
    let server = site_behind(acceptor).await;
    let client = client(Some(certificate), ClientSettings::default());
    let error = get(&client, &site(&server, "golf.example"), "/").await;
    let UpstreamError::Unreachable(reason) = error.unwrap_err() else {
        panic!("the site is reachable");
    };
    let text = reason.source().unwrap().to_string();
    assert!(text.contains("CaUsedAsEndEntity"), "{text}");
    assert_eq!(server.seen().total(), 0);
}

#[rstest]
#[case::closes(false)]
#[case::hangs(true)]
#[tokio::test]
async fn site_that_aborts_the_tls_handshake_gets_no_request(#[case] hangs: bool) {
    let server = TestSite::start(move |mut stream, _| async move {
        let _ = stream.read_u8().await;
        if hangs {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    })
    .await;
    let settings = ClientSettings {
        connect_timeout: Duration::from_millis(200),
        ..ClientSettings::default()
    };
    let error = get(&client(None, settings), &site(&server, "golf.example"), "/").await;
    let error = error.unwrap_err();
    assert_eq!(
        matches!(error, UpstreamError::ConnectTimeout),
        hangs,
        "{error:?}"
    );
    assert_eq!(error.outcome(), Outcome::NotSent);
}

#[tokio::test]
async fn site_that_does_not_speak_tls_gets_no_request() {
    let server = TestSite::answering(OK).await;
    let client = client(None, ClientSettings::default());
    let error = get(&client, &site(&server, "golf.example"), "/")
        .await
        .unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotSent);
    assert_eq!(server.seen().total(), 0);
}
