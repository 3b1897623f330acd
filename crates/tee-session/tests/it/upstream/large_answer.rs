//! Tests that the binary needs only bounded memory for an answer of any size.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tee_session_test_support::{TestSite, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep},
};

use super::{GATEWAY_FLAGS, token_for};
use crate::service::{self, Service};

const MIB: u64 = 1_024 * 1_024;

const LENGTH: u64 = 1_024 * MIB;

/// Size of the client's receive buffer, in bytes. The kernel doubles this value.
const CLIENT_BUFFER: u32 = 64 * 1_024;

/// Maximum number of bytes of the answer that the service itself may buffer.
const MAX_IN_SERVICE: u64 = MIB;

/// Maximum growth of the resident memory of the service, in kilobytes.
const MAX_GROWTH: u64 = 8 * 1_024;

/// Number of bytes that the client reads between two measurements.
const STEP: usize = 1_024 * 1_024;

/// Returns the maximum number of bytes that the site may have written before the client reads them.
/// These bytes are buffered in the service and in the four sockets. The kernel chooses the buffer
/// sizes of three sockets.
fn max_ahead() -> u64 {
    let most = |name: &str| -> u64 {
        let sizes = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        let most = sizes.split_whitespace().last();
        most.and_then(|most| most.parse().ok()).unwrap()
    };
    let client = u64::from(2 * CLIENT_BUFFER);
    let (site, service) = (most("tcp_wmem"), most("tcp_rmem") + most("tcp_wmem"));
    site + service + MAX_IN_SERVICE + client
}

/// Starts a site that answers with [`LENGTH`] bytes, except for `/small`. Counts the bytes that the
/// site has written.
async fn large_site(written: Arc<AtomicU64>) -> TestSite {
    TestSite::start(move |mut stream, seen| {
        let written = Arc::clone(&written);
        async move {
            while let Some(request) = seen.read_request(&mut stream).await {
                let is_small = request.starts_with("GET /small ");
                let length = if is_small { MIB } else { LENGTH };
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                let part = vec![b'x'; 64 * 1_024];
                for _ in 0..length / part.len() as u64 {
                    if stream.write_all(&part).await.is_err() {
                        return;
                    }
                    written.fetch_add(part.len() as u64, Ordering::SeqCst);
                }
            }
        }
    })
    .await
}

/// Sends a request through the gateway, and reads the head of the response.
async fn call(service: &Service, token: &str, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(CLIENT_BUFFER).unwrap();
    let address = service.base().trim_start_matches("http://");
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let request = format!(
        "GET /v1/upstream{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    stream
}

#[tokio::test]
async fn answer_of_1_gib_to_a_slow_client_needs_at_most_8_mib_and_slows_down_the_site() {
    let written = Arc::<AtomicU64>::default();
    let site = large_site(Arc::clone(&written)).await;
    let no_limit = ["--upstream-max-response-bytes", "0", "--workers", "2"];
    let service = service::start(&[GATEWAY_FLAGS.as_slice(), &no_limit].concat()).await;
    let token = token_for(&service, &site.url()).await;
    let mut part = vec![0; STEP];
    // The first answers fill the pools of the memory allocator, so memory is measured after them.
    for _ in 0..4 {
        let mut small = call(&service, &token, "/small").await;
        small.read_exact(&mut part).await.unwrap();
    }
    let resident = service.resident();
    written.store(0, Ordering::SeqCst);

    let mut answer = call(&service, &token, "/large").await;
    eventually(Duration::from_secs(10), async || {
        written.load(Ordering::SeqCst) > 0
    })
    .await;
    // The client does not read, so the site writes until all buffers are full.
    let (mut before, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        let now = written.load(Ordering::SeqCst);
        if now != before {
            (before, since) = (now, Instant::now());
        }
        sleep(Duration::from_millis(10)).await;
    }
    let max_ahead = max_ahead();
    assert!(before <= max_ahead, "{before} bytes are in buffers");

    let (mut received, mut most_ahead, mut most_resident) = (0, before, service.resident());
    while received < LENGTH {
        answer.read_exact(&mut part).await.unwrap();
        received += STEP as u64;
        let ahead = written.load(Ordering::SeqCst).saturating_sub(received);
        most_ahead = most_ahead.max(ahead);
        most_resident = most_resident.max(service.resident());
    }
    assert!(most_ahead <= max_ahead, "{most_ahead} bytes in buffers");
    let grown = most_resident.saturating_sub(resident);
    assert!(grown <= MAX_GROWTH, "{resident} kB, and {grown} kB more");
}
