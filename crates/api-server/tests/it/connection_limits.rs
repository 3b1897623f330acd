//! Tests of the limits of open connections. The service must serve new clients and health probes
//! while other clients keep as many connections open as they can.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use reqwest::{Client, StatusCode};
use rstest::rstest;
use tee_session_test_support::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use crate::{
    hooked_repository::HookedRepository,
    test_app::{Builder, Store, TestApp, assert_problem},
    tls::TlsApp,
};

/// Maximum number of open connections in most tests.
const MAX: usize = 40;

/// Address of the clients that keep many connections open. Other clients have the address
/// 127.0.0.1.
const HOLDER: [u8; 4] = [127, 0, 0, 2];

const TIMEOUT: Duration = Duration::from_secs(10);

const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn with_limits(max: usize, per_address: Option<usize>) -> Builder {
    TestApp::builder().with(|settings| {
        settings.max_connections = max;
        settings.max_connections_per_address = per_address;
    })
}

async fn connect_from(source: [u8; 4], server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    timeout(TIMEOUT, socket.connect(server))
        .await
        .unwrap()
        .unwrap()
}

/// Sends `request`, and returns the status of the response. Returns `None` if the connection ends
/// without a response.
async fn exchange(stream: &mut TcpStream, request: &str) -> Option<u16> {
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = [0; 4_096];
    let read = timeout(TIMEOUT, stream.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read.ok()?]).into_owned();
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// Returns `true` if the server has closed the connection.
fn is_closed(stream: &TcpStream) -> bool {
    !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Waits until at most `max` of `connections` are open. The server has then accepted all of them,
/// and has closed those above the limit.
async fn wait_until_open(connections: &[TcpStream], max: usize) {
    eventually(TIMEOUT, async || {
        let open = connections.iter().filter(|stream| !is_closed(stream));
        open.count() <= max
    })
    .await;
}

/// Sends a request with a new client, which opens a new connection.
async fn get(app: &TestApp, path: &str) -> StatusCode {
    let client = Client::new();
    let request = client.get(format!("http://{}{path}", app.address));
    request.timeout(TIMEOUT).send().await.unwrap().status()
}

/// Bytes that a client has sent on each connection that it keeps open: none, a part of a request
/// head, or one whole request.
#[derive(Clone, Copy)]
enum Held {
    Unused,
    PartOfAHead,
    IdleAfterARequest,
}

/// One address opens five times as many connections as it may have. During this time, all clients
/// must be served, including further clients of that address.
#[rstest]
#[case::unused(Held::Unused)]
#[case::part_of_a_head(Held::PartOfAHead)]
#[case::idle_after_a_request(Held::IdleAfterARequest)]
#[tokio::test]
async fn all_clients_are_served_while_one_address_opens_connections_without_end(
    #[case] held: Held,
) {
    let app = with_limits(2 * MAX, Some(MAX)).spawn(Store::Memory).await;
    let token = app.log_in().await;
    let mut connections = Vec::new();
    for number in 0..5 * MAX {
        let mut stream = connect_from(HOLDER, app.address).await;
        match held {
            Held::Unused => {}
            Held::PartOfAHead => stream.write_all(b"GET /health").await.unwrap(),
            Held::IdleAfterARequest => assert_eq!(exchange(&mut stream, LIVE).await, Some(200)),
        }
        connections.push(stream);
        if number % MAX == MAX - 1 {
            assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
            assert_eq!(app.log_in().await.len(), token.len());
            assert_eq!(get(&app, "/health/ready").await, StatusCode::OK);
        }
    }
    wait_until_open(&connections, MAX).await;
    let newest = connections.last_mut().unwrap();
    if let Held::Unused = held {
        assert_eq!(exchange(newest, LIVE).await, Some(200));
    }
}

/// Clients that do not read their responses must not prevent other clients from being served.
#[tokio::test]
async fn all_clients_are_served_while_one_address_does_not_read_its_responses() {
    const BUNDLE: &str = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let app = with_limits(MAX, None).spawn(Store::Memory).await;
    let mut connections = Vec::new();
    for _ in 0..MAX {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.bind((HOLDER, 0).into()).unwrap();
        let mut stream = socket.connect(app.address).await.unwrap();
        stream
            .write_all(BUNDLE.repeat(20).as_bytes())
            .await
            .unwrap();
        connections.push(stream);
    }
    // The wait is shorter than the time after which such a connection is closed in any case.
    eventually(TIMEOUT / 2, async || {
        get(&app, "/docs").await == StatusCode::OK
    })
    .await;
}

/// There is no limit per address, so one address can use all connections. New clients must still be
/// served, because idle connections are closed.
#[tokio::test]
async fn longest_idle_connections_are_closed_first_at_the_limit_of_all_connections() {
    let app = with_limits(MAX, None).spawn(Store::Memory).await;
    let mut connections = Vec::new();
    for _ in 0..MAX - 1 {
        connections.push(connect_from(HOLDER, app.address).await);
        // The connections belong to different workers, but their order by idle time is the same for
        // all workers.
        assert_eq!(
            exchange(connections.last_mut().unwrap(), LIVE).await,
            Some(200)
        );
    }
    // The oldest connection is used again, so that it is no longer the longest idle.
    assert_eq!(exchange(&mut connections[0], LIVE).await, Some(200));
    for _ in 0..MAX / 2 {
        let mut stream = connect_from([127, 0, 0, 3], app.address).await;
        assert_eq!(exchange(&mut stream, LIVE).await, Some(200));
        connections.push(stream);
    }
    eventually(TIMEOUT, async || is_closed(&connections[1])).await;
    assert_eq!(exchange(&mut connections[0], LIVE).await, Some(200));
    let newest = connections.last_mut().unwrap();
    assert_eq!(exchange(newest, LIVE).await, Some(200));
}

/// The store does not reply before the end of the test, so all connections are busy. These
/// connections must stay open, and health probes must be answered on further connections.
#[tokio::test]
async fn busy_connections_stay_open_and_health_probes_succeed_at_the_connection_limit() {
    let (arrived, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let repository = HookedRepository::new({
        let (arrived, gate) = (Arc::clone(&arrived), Arc::clone(&gate));
        move |_| {
            let gate = Arc::clone(&gate);
            arrived.add_permits(1);
            async move { drop(gate.acquire_owned().await) }
        }
    });
    let app = with_limits(MAX, None).spawn_on(repository);
    app.until_ready().await;
    let token = app.log_in().await;
    let request = format!(
        "GET /v1/session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let mut busy = JoinSet::new();
    for _ in 0..MAX {
        // The connection of the login is idle, so it is closed to make room for the last of these
        // connections.
        let mut stream = connect_from(HOLDER, app.address).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let is_busy = timeout(TIMEOUT, arrived.acquire()).await.unwrap();
        is_busy.unwrap().forget();
        busy.spawn(async move { exchange(&mut stream, "").await });
    }
    for _ in 0..3 {
        assert_eq!(get(&app, "/health/live").await, StatusCode::OK);
        assert_eq!(get(&app, "/health/ready").await, StatusCode::OK);
    }
    // Other requests are refused with a response that contains the reason.
    let refused = Client::new()
        .get(format!("http://{}/v1/session", app.address))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(refused.headers()["connection"], "close");
    assert_problem(refused, 503, "overloaded").await;
    gate.add_permits(MAX);
    for status in busy.join_all().await {
        assert_eq!(status, Some(200));
    }
    // As soon as the connections are idle, other clients are served.
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn trusted_proxy_may_open_more_connections_than_the_limit_per_address() {
    let app = with_limits(4 * MAX, Some(10))
        .with(|settings| settings.trusted_proxies = "127.0.0.2".parse().unwrap())
        .spawn(Store::Memory)
        .await;
    let mut connections = Vec::new();
    for _ in 0..3 * MAX {
        connections.push(connect_from(HOLDER, app.address).await);
    }
    for stream in &mut connections {
        assert_eq!(exchange(stream, LIVE).await, Some(200));
    }
}

#[tokio::test]
async fn connections_of_the_metrics_listener_are_limited() {
    let app = TestApp::builder()
        .with(|settings| settings.metrics_address = Some(([127, 0, 0, 1], 0).into()))
        .spawn(Store::Memory)
        .await;
    let address = app.metrics_address.unwrap();
    let mut connections = Vec::new();
    for _ in 0..100 {
        connections.push(connect_from(HOLDER, address).await);
    }
    wait_until_open(&connections, 16).await;
    let metrics = reqwest::get(format!("http://{address}/metrics"))
        .await
        .unwrap();
    assert_eq!(metrics.status(), StatusCode::OK);
    let metrics = metrics.text().await.unwrap();
    for limit in ["max_connections", "max_connections_per_address"] {
        for outcome in ["idle_closed", "health_only", "refused"] {
            let series = format!("{{limit=\"{limit}\",outcome=\"{outcome}\"}}");
            assert!(metrics.contains(&series), "{series}");
        }
    }
}

/// Connections without a completed TLS handshake count towards the limit. At the limit, they are
/// closed before other connections.
#[tokio::test]
async fn https_clients_are_served_while_connections_without_a_handshake_reach_the_limit() {
    let tls = TlsApp::spawn_with(|settings| {
        settings.max_connections = MAX;
        settings.max_connections_per_address = None;
    })
    .await;
    let mut connections = Vec::new();
    for _ in 0..3 * MAX {
        connections.push(connect_from(HOLDER, tls.app.address).await);
    }
    // The test waits until the server has accepted these connections. Otherwise, they could be
    // newer than the connections of the client.
    wait_until_open(&connections, MAX).await;
    let token = tls.app.log_in().await;
    assert_eq!(tls.app.get_session(&token).await.status(), StatusCode::OK);
}
