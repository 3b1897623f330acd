//! Tests that the client connects only to addresses that it has checked.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rstest::rstest;
use tee_session_upstream::{
    AddressPolicy, Client, ClientSettings, ForbiddenAddress, Lookup, LookupFuture, Outcome, Site,
    UpstreamError,
};
use tokio::net::TcpListener;

use crate::test_site::{OK, TestSite, get, local_policy, no_tls, site_of, text};

/// Resolver that returns different addresses at each look-up of a name, like the DNS server of an
/// attacker (DNS rebinding).
struct Answers {
    lists: Vec<Vec<IpAddr>>,
    asked: Arc<AtomicUsize>,
}

impl Lookup for Answers {
    fn addresses(&self, _name: String) -> LookupFuture {
        let index = self.asked.fetch_add(1, Ordering::SeqCst);
        let list = self.lists[index.min(self.lists.len() - 1)].clone();
        Box::pin(async move { Ok(list) })
    }
}

fn client(lists: &[&[&str]], policy: AddressPolicy) -> (Client, Arc<AtomicUsize>) {
    let parse = |list: &&[&str]| {
        list.iter()
            .map(|address| address.parse().unwrap())
            .collect()
    };
    let asked = Arc::<AtomicUsize>::default();
    let lookup = Answers {
        lists: lists.iter().map(parse).collect(),
        asked: Arc::clone(&asked),
    };
    let settings = ClientSettings::default();
    (
        Client::with_lookup(no_tls(), policy, settings, Arc::new(lookup)),
        asked,
    )
}

/// Returns `true` if a connection to the listener was opened.
async fn was_connected_to(listener: &TcpListener) -> bool {
    let accept = tokio::time::timeout(Duration::from_millis(50), listener.accept());
    accept.await.is_ok()
}

#[rstest]
#[case::forbidden(&["127.0.0.1"])]
#[case::public_first(&["8.8.8.8", "127.0.0.1"])]
#[case::public_last(&["127.0.0.1", "8.8.8.8"])]
#[case::mapped(&["::ffff:127.0.0.1"])]
#[case::this_host(&["0.0.0.0"])]
#[case::unspecified(&["::"])]
#[tokio::test]
async fn host_name_with_a_forbidden_address_gets_no_connection(#[case] addresses: &[&str]) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Every port of the public address is allowed, so that only the other address is forbidden.
    let policy = AddressPolicy::default().allow_networks("8.8.8.8".parse().unwrap());
    let (client, _) = client(&[addresses], policy.allow_http(true));
    let site = Site::of_url(&format!("http://rebind.example:{port}")).unwrap();
    let error = get(&client, &site, "/").await.unwrap_err();
    let forbidden = matches!(
        error,
        UpstreamError::NotAllowed(ForbiddenAddress::Network(_))
    );
    assert!(forbidden, "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotSent);
    assert!(!was_connected_to(&listener).await);
}

#[rstest]
#[case("http://127.0.0.1")]
#[case("http://0x7f.1")]
#[case("http://2130706433")]
#[case("http://127.1")]
#[case("http://0.0.0.0")]
#[case("http://[::ffff:127.0.0.1]")]
#[case("http://localhost")]
#[tokio::test]
async fn forbidden_address_in_any_notation_gets_no_connection(#[case] host: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let policy = AddressPolicy::default().allow_http(true);
    let client = Client::new(no_tls(), policy, ClientSettings::default());
    let site = Site::of_url(&format!("{host}:{port}")).unwrap();
    let error = get(&client, &site, "/").await.unwrap_err();
    let UpstreamError::NotAllowed(ForbiddenAddress::Network(forbidden)) = &error else {
        panic!("{error:?}");
    };
    // The address is in the source of the error, which is logged, but not in the text for clients.
    let address = forbidden.0.to_string();
    assert!(forbidden.to_string().contains(&address));
    assert!(!error.to_string().contains(&address));
    assert!(!was_connected_to(&listener).await);
}

// The test does not check the reason of the error, because not every system resolves this name.
#[tokio::test]
async fn localhost_with_a_trailing_dot_gets_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let policy = AddressPolicy::default().allow_http(true);
    let client = Client::new(no_tls(), policy, ClientSettings::default());
    let site = Site::of_url(&format!("http://localhost.:{port}")).unwrap();
    let error = get(&client, &site, "/").await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotSent);
    assert!(!was_connected_to(&listener).await);
}

#[tokio::test]
async fn host_name_is_resolved_once_per_connection_and_the_checked_address_is_used() {
    let server = TestSite::answering(OK).await;
    let port = server.address().port();
    // If a connection resolved the name twice, the second result would be an address that was not
    // checked.
    let lists: &[&[&str]] = &[&["127.0.0.1"], &["169.254.169.254"]];
    let (client, asked) = client(lists, local_policy());
    let site = Site::of_url(&format!("http://rebind.example:{port}")).unwrap();
    let answer = get(&client, &site, "/").await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // The connection is busy, so the next request needs another connection.
    let error = get(&client, &site, "/").await.unwrap_err();
    assert!(matches!(error, UpstreamError::NotAllowed(_)), "{error:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(text(answer).await.unwrap(), "ok");
    assert_eq!(server.seen().connections(), 1);
}

#[tokio::test]
async fn second_address_is_tried_if_the_first_refuses_the_connection() {
    let server = TestSite::answering(OK).await;
    let port = server.address().port();
    let (client, _) = client(&[&["127.0.0.2", "127.0.0.1"]], local_policy());
    let site = Site::of_url(&format!("http://golf.example:{port}")).unwrap();
    let answer = get(&client, &site, "/").await.unwrap();
    assert_eq!(text(answer).await.unwrap(), "ok");
}

#[tokio::test]
async fn at_most_two_addresses_are_tried() {
    let server = TestSite::answering(OK).await;
    let port = server.address().port();
    let (client, _) = client(&[&["127.0.0.2", "127.0.0.3", "127.0.0.1"]], local_policy());
    let site = Site::of_url(&format!("http://golf.example:{port}")).unwrap();
    let error = get(&client, &site, "/").await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable(_)), "{error:?}");
    assert_eq!(server.seen().connections(), 0);
}

struct Failing;

impl Lookup for Failing {
    fn addresses(&self, name: String) -> LookupFuture {
        Box::pin(async move {
            match name.as_str() {
                "slow.example" => std::future::pending().await,
                "empty.example" => Ok(Vec::new()),
                _ => Err(io::Error::other("no such host")),
            }
        })
    }
}

#[rstest]
#[case::unknown("http://unknown.example", "no connection to the site could be made")]
#[case::empty("http://empty.example", "no connection to the site could be made")]
#[case::slow(
    "http://slow.example",
    "no connection to the site could be made in time"
)]
#[tokio::test]
async fn failed_name_resolution_returns_an_error_with_outcome_not_sent(
    #[case] url: &str,
    #[case] expected: &str,
) {
    let settings = ClientSettings {
        connect_timeout: Duration::from_millis(100),
        ..ClientSettings::default()
    };
    let client = Client::with_lookup(no_tls(), local_policy(), settings, Arc::new(Failing));
    let started = Instant::now();
    let error = get(&client, &Site::of_url(url).unwrap(), "/")
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.outcome(), Outcome::NotSent);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn http_site_is_called_only_if_http_is_allowed() {
    let server = TestSite::answering(OK).await;
    let policy = local_policy().allow_http(false);
    let client = Client::new(no_tls(), policy, ClientSettings::default());
    let error = get(&client, &site_of(&server), "/").await.unwrap_err();
    let expected = UpstreamError::NotAllowed(ForbiddenAddress::Http);
    assert_eq!(error.to_string(), expected.to_string());
    assert_eq!(server.seen().connections(), 0);
}
