//! Clients that take their time, so as to hold connections open.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
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

/// It asks for much and takes nothing: its connection ends, whatever is still owed.
#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_in_time() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut body = valid_body();
    body["cookies"] = serde_json::json!({"a": "x".repeat(4_096), "b": "x".repeat(4_096)});
    let created: serde_json::Value = app.post_session(&body).await.json().await.unwrap();
    let token = created["access_token"].as_str().unwrap();
    let request =
        format!("GET /v1/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(app.address).await.unwrap();
    let started = Instant::now();
    let flooding = async {
        loop {
            if stream.write_all(request.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    timeout(Duration::from_secs(25), flooding)
        .await
        .expect("the connection ends although nothing is read");
    let took = started.elapsed();
    assert!(took > Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn others_are_served_while_a_hundred_clients_drip() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        stream.write_all(b"GET /health").await.unwrap();
        slow.push(stream);
    }
    let token = app.log_in().await;
    for _ in 0..100 {
        let answer = timeout(Duration::from_secs(1), app.get_session(&token)).await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
}
