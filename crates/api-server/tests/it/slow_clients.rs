//! Tests that clients that send or read slowly cannot keep connections open.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::StatusCode;
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{interval, timeout},
};

use crate::test_app::{Store, TestApp, build_valid_body};

/// Maximum time until the server closes a connection with a slow request head. The time includes a
/// margin for a busy machine.
const HEAD_TIMEOUT: Duration = Duration::from_secs(8);

const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sends `bytes` again and again, byte by byte, with a pause of `pause` after each byte.
///
/// Stops when the server closes the connection. Returns the response, and the time until the
/// connection was closed.
async fn send_slowly(stream: TcpStream, bytes: &[u8], pause: Duration) -> (String, Duration) {
    let started = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    let mut answer = Vec::new();
    let sending = async {
        let mut ticks = interval(pause);
        for byte in bytes.iter().cycle() {
            ticks.tick().await;
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = reader.read_to_end(&mut answer) => {}
        () = sending => {}
    }
    (
        String::from_utf8_lossy(&answer).into_owned(),
        started.elapsed(),
    )
}

#[tokio::test]
async fn slowly_sent_head_of_the_first_request_on_a_connection_returns_408() {
    let app = TestApp::spawn(Store::Memory).await;
    let stream = TcpStream::connect(app.address).await.unwrap();
    let (answer, elapsed) = send_slowly(
        stream,
        b"GET /health/live HTTP/1.1",
        Duration::from_millis(300),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(elapsed < HEAD_TIMEOUT, "{elapsed:?}");
}

#[tokio::test]
async fn slowly_sent_head_of_a_later_request_returns_408() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(LIVE).await.unwrap();
        let mut answer = [0; 1_024];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
    }
    let (answer, elapsed) = send_slowly(
        stream,
        b"GET /health/live HTTP/1.1",
        Duration::from_millis(300),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("connection: close\r\ndate: "), "{answer}");
    assert!(
        elapsed > Duration::from_secs(4) && elapsed < HEAD_TIMEOUT,
        "{elapsed:?}"
    );
}

#[tokio::test]
async fn slowly_sent_chunked_body_returns_408_and_closes_the_connection() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let (answer, elapsed) = send_slowly(stream, b"1\r\n \r\n", Duration::from_millis(100)).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    // After the response, the server still reads from the connection, for at most the timeout of a
    // request head.
    assert!(elapsed < HEAD_TIMEOUT * 2, "{elapsed:?}");
}

/// Simulates a client that begins a chunked body and then stops sending. The server must send the
/// response and close the connection without the rest of the body.
#[rstest]
#[case::body_is_not_read("GET /health/live", "", 200)]
#[case::body_is_not_read_with_connection_close("GET /health/live", "Connection: close\r\n", 200)]
#[case::rejected_before_body_is_read("POST /v1/sessions", "", 415)]
#[case::no_token("DELETE /v1/session", "", 401)]
#[case::not_found("POST /nope", "", 404)]
#[case::body_is_awaited("POST /v1/sessions", "Content-Type: application/json\r\n", 408)]
#[case::upgrade("GET /health/live", "Connection: Upgrade\r\nUpgrade: x\r\n", 200)]
#[tokio::test]
async fn connection_is_closed_after_the_response_if_the_chunked_request_body_stalls(
    #[case] request: &str,
    #[case] fields: &str,
    #[case] status: u16,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\n{fields}Transfer-Encoding: chunked\r\n\r\n5\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(HEAD_TIMEOUT * 2, stream.read_to_end(&mut answer)).await;
    ended.expect("the connection ends").unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
}

/// Checks that the server closes the connection if it did not read the chunked body of a request.
/// The response announces the end of the connection with `Connection: close`.
#[tokio::test]
async fn connection_is_closed_after_the_response_if_the_server_did_not_read_the_chunked_body() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let refused = b"DELETE /v1/session HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
        2\r\n{}\r\n0\r\n\r\n";
    stream.write_all(refused).await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(Duration::from_secs(3), stream.read_to_end(&mut answer)).await;
    ended.expect("the connection ends at once").unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn connection_stays_open_after_a_complete_chunked_body() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let body = build_valid_body().to_string();
    let request = format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 2_048];
        let read = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
}

/// Creates a session with large cookies, and opens a connection with a small receive buffer.
/// Returns the connection, and the text of a request for the session. The response to that request
/// is longer than 12 KiB.
async fn connect_with_small_buffer(app: &TestApp) -> (TcpStream, String) {
    let mut body = build_valid_body();
    let cookies = ["a", "b", "c"].map(|name| (name.to_owned(), "x".repeat(4_096).into()));
    body["cookies"] = serde_json::Map::from_iter(cookies).into();
    let created: serde_json::Value = app.post_session(&body).await.json().await.unwrap();
    let token = created["access_token"].as_str().unwrap();
    let request =
        format!("GET /v1/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    (socket.connect(app.address).await.unwrap(), request)
}

/// Writes `bytes` repeatedly until the server closes the connection, with a pause of `pause` after
/// each write. Returns the time until the connection is closed.
async fn write_until_closed(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> Duration {
    let started = Instant::now();
    let writing = async {
        while stream.write_all(bytes).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    };
    timeout(Duration::from_secs(25), writing)
        .await
        .expect("the connection ends although nothing is read");
    started.elapsed()
}

/// Simulates a client that requests many large responses and does not read them.
#[tokio::test]
async fn client_that_does_not_read_responses_is_disconnected() {
    let app = TestApp::spawn(Store::Memory).await;
    let (mut stream, request) = connect_with_small_buffer(&app).await;
    // The responses are longer than the socket buffers, so the server cannot send all of them. The
    // requests are shorter than the read buffers of the framework, so the server can read all of
    // them.
    stream
        .write_all(request.repeat(600).as_bytes())
        .await
        .unwrap();
    let elapsed = write_until_closed(&mut stream, b"\r\n", Duration::from_millis(500)).await;
    assert!(elapsed > Duration::from_secs(5), "{elapsed:?}");
}

/// Simulates a client that reads no response and sends requests without a pause.
#[tokio::test]
async fn client_that_keeps_sending_requests_without_reading_responses_is_disconnected() {
    let app = TestApp::spawn(Store::Memory).await;
    let (mut stream, request) = connect_with_small_buffer(&app).await;
    let flood = request.repeat(100);
    let elapsed = write_until_closed(&mut stream, flood.as_bytes(), Duration::ZERO).await;
    // As long as the client reads no responses, the server does not read further requests, so that
    // the responses do not fill the memory of the server.
    assert!(elapsed > Duration::from_secs(5), "{elapsed:?}");
}

/// Simulates clients that send a chunked body without an end, faster than the server reads the
/// body.
#[rstest]
#[case::chunk_size_of_unread_body("GET /health/live", "", b'0')]
#[case::chunk_extension_of_awaited_body("POST /v1/sessions", "1;", b'x')]
#[tokio::test]
async fn clients_whose_chunked_body_never_ends_are_disconnected_even_if_they_send_fast(
    #[case] request: &str,
    #[case] begin: &str,
    #[case] byte: u8,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{begin}"
    );
    let clients = (0..3).map(async |_| {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        write_until_closed(&mut stream, &[byte; 65_536], Duration::ZERO).await
    });
    for elapsed in join_all(clients).await {
        // Two timeouts add up if the server waits for a body: the timeout for the body, and the
        // timeout after the response.
        assert!(elapsed < HEAD_TIMEOUT * 2, "{elapsed:?}");
    }
}

#[tokio::test]
async fn other_clients_are_served_while_100_clients_send_slowly() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let stream = TcpStream::connect(app.address).await.unwrap();
        slow.spawn(send_slowly(
            stream,
            b"GET /health/live?",
            Duration::from_millis(20),
        ));
    }
    let token = app.log_in().await;
    for _ in 0..100 {
        let answer = timeout(Duration::from_secs(1), app.get_session(&token)).await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
}
