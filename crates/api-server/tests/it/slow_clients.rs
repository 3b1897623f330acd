//! Clients that take their time, so as to hold connections open.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{interval, timeout},
};

use crate::test_app::{Store, TestApp, valid_body};

/// What a slow head may take, with room for a busy machine.
const HEAD_ENDS_WITHIN: Duration = Duration::from_secs(8);

const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sends one byte after the other until the server has had enough; tells what it said and when.
async fn drip(stream: TcpStream, bytes: &[u8], pause: Duration) -> (String, Duration) {
    let started = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    let mut answer = Vec::new();
    let dripping = async {
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
        () = dripping => {}
    }
    (
        String::from_utf8_lossy(&answer).into_owned(),
        started.elapsed(),
    )
}

#[tokio::test]
async fn a_first_head_that_drips_is_408_in_time() {
    let app = TestApp::spawn(Store::Memory).await;
    let stream = TcpStream::connect(app.address).await.unwrap();
    let (answer, took) = drip(
        stream,
        b"GET /health/live HTTP/1.1",
        Duration::from_millis(300),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(took < HEAD_ENDS_WITHIN, "{took:?}");
}

#[tokio::test]
async fn a_later_head_that_drips_ends_the_connection_in_time() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(LIVE).await.unwrap();
        let mut answer = [0; 1_024];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
    }
    let (_, took) = drip(
        stream,
        b"GET /health/live HTTP/1.1",
        Duration::from_millis(300),
    )
    .await;
    assert!(
        took > Duration::from_secs(4) && took < HEAD_ENDS_WITHIN,
        "{took:?}"
    );
}

#[tokio::test]
async fn a_chunked_body_that_drips_is_408_and_the_end_of_the_connection() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\
        Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let (answer, took) = drip(stream, b"1\r\n \r\n", Duration::from_millis(100)).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    // What still comes after the answer has the time of a head.
    assert!(took < HEAD_ENDS_WITHIN * 2, "{took:?}");
}

/// It begins a chunked body, and that is all: neither the answer nor the wait for the rest of it
/// holds the connection open.
#[rstest]
#[case::nobody_reads_it("GET /health/live", "", 200)]
#[case::nobody_reads_it_and_both_want_to_end("GET /health/live", "Connection: close\r\n", 200)]
#[case::refused_before_it_is_read("POST /v1/sessions", "", 415)]
#[case::no_token("DELETE /v1/session", "", 401)]
#[case::not_found("POST /nope", "", 404)]
#[case::read_in_vain("POST /v1/sessions", "Content-Type: application/json\r\n", 408)]
#[case::upgrade("GET /health/live", "Connection: Upgrade\r\nUpgrade: x\r\n", 200)]
#[tokio::test]
async fn a_chunked_body_that_stalls_does_not_hold_its_connection(
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
    let ended = timeout(HEAD_ENDS_WITHIN * 2, stream.read_to_end(&mut answer)).await;
    ended.expect("the connection ends").unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
}

/// What is not read of a chunked body ends the connection, and the answer says so.
#[tokio::test]
async fn a_chunked_body_that_is_not_read_ends_the_connection_with_its_answer() {
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
async fn after_a_chunked_body_that_was_read_a_connection_serves_on() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let body = valid_body().to_string();
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

/// A connection with little room for answers, and a request for an answer of 16 KiB.
async fn greedy(app: &TestApp) -> (TcpStream, String) {
    let mut body = valid_body();
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

/// Writes until the other end has had enough, and tells how long that took.
async fn write_until_cut_off(stream: &mut TcpStream, bytes: &[u8], pause: Duration) -> Duration {
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

/// It asks for much and takes nothing: its connection ends, whatever is still owed.
#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_in_time() {
    let app = TestApp::spawn(Store::Memory).await;
    let (mut stream, request) = greedy(&app).await;
    // More than buffers hold of answers, less than the framework holds of requests.
    stream
        .write_all(request.repeat(600).as_bytes())
        .await
        .unwrap();
    let took = write_until_cut_off(&mut stream, b"\r\n", Duration::from_millis(500)).await;
    assert!(took > Duration::from_secs(5), "{took:?}");
}

/// It takes nothing and asks for ever more, which keeps the framework busy.
#[tokio::test]
async fn a_client_that_floods_and_does_not_read_is_cut_off_at_once() {
    let app = TestApp::spawn(Store::Memory).await;
    let (mut stream, request) = greedy(&app).await;
    let flood = request.repeat(100);
    let took = write_until_cut_off(&mut stream, flood.as_bytes(), Duration::ZERO).await;
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn others_are_served_while_a_hundred_clients_drip() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let stream = TcpStream::connect(app.address).await.unwrap();
        slow.spawn(drip(
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
