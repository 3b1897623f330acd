//! Test of the shutdown under full load: after SIGTERM, each request on an established connection
//! still gets a response.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use rstest::rstest;
use tee_session_test_support::{RedisProcess, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

use crate::service;

const READY_WITHIN: Duration = Duration::from_secs(5);

const CONNECTIONS: usize = 64;

/// Sends `request` on the connection `stream` again and again, with `pause` between a response and
/// the next request. Returns when a response has the header `Connection: close`.
async fn request_until_closed(
    mut stream: TcpStream,
    request: String,
    pause: Duration,
    served: Arc<AtomicUsize>,
) {
    loop {
        stream.write_all(request.as_bytes()).await.unwrap();
        let response = read_response(&mut stream).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        served.fetch_add(1, Ordering::Relaxed);
        if response.contains("connection: close") {
            return;
        }
        sleep(pause).await;
    }
}

/// Reads one response including the body. Returns the status line and the headers. Converts both to
/// lower case, except for `HTTP/1.1`.
async fn read_response(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    loop {
        let read = stream.read_buf(&mut response).await.unwrap();
        assert!(
            read > 0,
            "cut off after {:?}",
            String::from_utf8_lossy(&response)
        );
        let text = String::from_utf8_lossy(&response).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.unwrap().parse::<usize>().unwrap() {
            return head.replacen("http/1.1", "HTTP/1.1", 1);
        }
    }
}

#[rstest]
#[case::without_a_pause(Duration::ZERO)]
#[case::with_pauses(Duration::from_millis(3))]
#[tokio::test]
async fn sigterm_under_load_loses_no_request_on_an_established_connection(#[case] pause: Duration) {
    let redis = RedisProcess::start().await;
    let flags = ["--redis-url", &redis.url(), "--workers", "2"];
    let mut service = service::start(&flags).await;
    service.until_ready(READY_WITHIN).await;
    let token = service.log_in("a1b2c3").await;
    let request =
        format!("GET /v1/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    let served = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let stream = service.connect().await;
        clients.spawn(request_until_closed(
            stream,
            request.clone(),
            pause,
            Arc::clone(&served),
        ));
    }
    eventually(READY_WITHIN, async || {
        served.load(Ordering::Relaxed) > 20 * CONNECTIONS
    })
    .await;
    service.signal(Signal::SIGTERM);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let ended = service.ended(Duration::from_secs(15)).await;
    assert_eq!(ended.code(), Some(0));
    let output = service.output();
    assert!(!output.contains("ERROR"), "a clean stop: {output}");
}
