use std::sync::Arc;

use actix_web::{
    dev::RequestHead,
    http::Method,
    http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING},
};
use rstest::rstest;
use tee_session_auth_middleware::TrustedProxies;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, join, repeat, sink},
    time::{advance, pause, timeout},
};

use super::*;
use crate::server::{
    connection::IDLE_TIMEOUT, connection_limits::ConnectionLimits, drain::Lifecycle,
};

const LONG: Duration = Duration::from_secs(200);

fn connect() -> (DuplexStream, ClientStream<DuplexStream>) {
    let (client, io) = duplex(64);
    (client, wrap(io))
}

fn wrap<T>(io: T) -> ClientStream<T> {
    let limits = ConnectionLimits::new(1, None, 0, TrustedProxies::default());
    let place = Arc::new(limits).admit(None).unwrap();
    ClientStream::new(io, place, Arc::new(Lifecycle::new()).connection())
}

/// Reads from `stream` until the stream ends, and returns the elapsed time in seconds. Returns
/// `None` if the stream has not ended after [`LONG`].
async fn read_to_end(stream: &mut ClientStream<DuplexStream>) -> Option<u64> {
    let (started, mut chunk) = (Instant::now(), [0; 16]);
    timeout(LONG, async {
        while stream.read(&mut chunk).await.unwrap() > 0 {}
        started.elapsed().as_secs()
    })
    .await
    .ok()
}

#[tokio::test]
async fn slow_request_head_closes_the_connection_after_the_head_timeout() {
    pause();
    let (mut client, mut stream) = connect();
    let slow_sending = async {
        loop {
            if client.write_all(b"x").await.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
    };
    let ended = tokio::select! {
        ended = read_to_end(&mut stream) => ended,
        () = slow_sending => unreachable!("the stream is open"),
    };
    assert_eq!(ended, Some(HEAD_TIMEOUT.as_secs()));
}

/// Simulates a client that sends faster than the server reads, so that no read is ever pending.
#[tokio::test]
async fn connection_is_closed_after_the_head_timeout_even_if_the_client_never_stops_sending() {
    pause();
    let mut stream = wrap(join(repeat(b'0'), sink()));
    let (started, mut chunk) = (Instant::now(), [0; 16]);
    while stream.read(&mut chunk).await.unwrap() > 0 {
        assert!(started.elapsed() < LONG);
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(started.elapsed(), HEAD_TIMEOUT);
}

#[tokio::test]
async fn connection_without_a_request_is_closed_after_the_head_timeout_without_a_response() {
    pause();
    let (mut client, mut stream) = connect();
    assert_eq!(read_to_end(&mut stream).await, Some(HEAD_TIMEOUT.as_secs()));
    drop(stream);
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0);
}

/// The time for the first request head begins with the connection, not with the first byte.
#[rstest]
#[case::first_byte_at_once(0)]
#[case::first_byte_late(4)]
#[tokio::test]
async fn slow_first_request_head_is_answered_with_408_at_the_head_timeout(#[case] seconds: u64) {
    pause();
    // The response is longer than the buffer of the other tests.
    let (mut client, io) = duplex(1_024);
    let mut stream = wrap(io);
    let (end, mut client) = tokio::join!(
        async move {
            let ended = read_to_end(&mut stream).await;
            assert_eq!(
                read_to_end(&mut stream).await,
                Some(0),
                "no second response"
            );
            ended
        },
        async move {
            sleep(Duration::from_secs(seconds)).await;
            client.write_all(b"GET").await.unwrap();
            client
        }
    );
    assert_eq!(end, Some(HEAD_TIMEOUT.as_secs()));
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    assert!(
        received.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{received}"
    );
    assert!(received.ends_with("\r\n\r\n"), "{received}");
    assert_eq!(received.matches("HTTP/1.1").count(), 1, "{received}");
}

fn head_without_body() -> RequestHead {
    RequestHead::default()
}

fn head_with_chunked_body() -> RequestHead {
    let mut head = RequestHead::default();
    let chunked = HeaderValue::from_static("chunked");
    head.headers.insert(TRANSFER_ENCODING, chunked);
    head
}

fn head_with_length(length: u64) -> RequestHead {
    let mut head = RequestHead::default();
    head.headers.insert(CONTENT_LENGTH, length.into());
    head
}

#[tokio::test]
async fn head_timeout_starts_again_for_each_request_on_a_connection() {
    pause();
    let (mut client, mut stream) = connect();
    let mut chunk = [0; 16];
    for _ in 0..5 {
        client.write_all(b"first half").await.unwrap();
        let _ = stream.read(&mut chunk).await.unwrap();
        // For 4 s, less than the head timeout, the rest of the head does not arrive. The stream
        // must stay open.
        let rest = timeout(Duration::from_secs(4), stream.read(&mut chunk)).await;
        assert!(rest.is_err(), "ended early");
        drop(stream.connection().serve(&head_without_body()));
    }
}

async fn send(client: &mut DuplexStream, stream: &mut ClientStream<DuplexStream>, text: &str) {
    client.write_all(text.as_bytes()).await.unwrap();
    let _ = stream.read(&mut [0; 64]).await.unwrap();
}

#[tokio::test]
async fn idle_connection_is_closed_after_the_idle_timeout() {
    pause();
    let (mut client, mut stream) = connect();
    send(&mut client, &mut stream, "head").await;
    drop(stream.connection().serve(&head_without_body()));
    assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
}

#[tokio::test]
async fn empty_lines_before_a_request_head_do_not_start_the_head_timeout() {
    pause();
    let (mut client, mut stream) = connect();
    send(&mut client, &mut stream, "head").await;
    drop(stream.connection().serve(&head_without_body()));
    send(&mut client, &mut stream, "\r\n").await;
    assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
}

/// Empty lines before a request head must be delivered together. If each of them were delivered
/// alone, the framework would search all of them again each time.
#[tokio::test]
async fn empty_lines_before_a_request_head_are_delivered_together() {
    pause();
    let (mut client, mut stream) = connect();
    let text = "\r\n\n\r\nGET / HTTP/1.1\r\n\r\n";
    client.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(read_text(&mut stream).await.as_deref(), Some(text));
}

/// Reads once. Returns `None` if nothing is delivered within a second.
async fn read_text(stream: &mut ClientStream<DuplexStream>) -> Option<String> {
    let mut bytes = [0; 64];
    let read = timeout(Duration::from_secs(1), stream.read(&mut bytes)).await;
    let length = read.ok()?.unwrap();
    Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

#[tokio::test]
async fn connection_stays_open_while_a_request_is_handled() {
    pause();
    let (mut client, mut stream) = connect();
    send(&mut client, &mut stream, "head").await;
    let served = stream.connection().serve(&head_without_body());
    assert_eq!(read_to_end(&mut stream).await, None);
    drop(served);
    assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
    drop(client);
}

#[tokio::test]
async fn next_request_is_delivered_only_after_the_response_to_the_previous_request() {
    pause();
    let (mut client, mut stream) = connect();
    client
        .write_all(b"GET 1\r\n\r\nGET 2\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_text(&mut stream).await.unwrap(), "GET 1\r\n\r\n");
    let served = stream.connection().serve(&head_without_body());
    assert_eq!(read_text(&mut stream).await, None);
    client.write_all(b"GET 3\r\n\r\n").await.unwrap();
    assert_eq!(read_text(&mut stream).await, None);
    drop(served);
    assert_eq!(read_text(&mut stream).await.unwrap(), "GET 2\r\n\r\n");
    drop(stream.connection().serve(&head_without_body()));
    assert_eq!(read_text(&mut stream).await.unwrap(), "GET 3\r\n\r\n");
}

#[tokio::test]
async fn bytes_after_a_request_body_are_withheld_until_the_request_is_answered() {
    pause();
    let (mut client, mut stream) = connect();
    client
        .write_all(b"PUT 1\r\n\r\n{\n\n}GET 2\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_text(&mut stream).await.unwrap(), "PUT 1\r\n\r\n");
    let served = stream.connection().serve(&head_with_length(4));
    assert_eq!(read_text(&mut stream).await.unwrap(), "{\n\n}");
    assert_eq!(read_text(&mut stream).await, None);
    drop(served);
    assert_eq!(read_text(&mut stream).await.unwrap(), "GET 2\r\n\r\n");
}

#[tokio::test]
async fn chunked_body_is_delivered_while_the_handler_waits_for_it() {
    pause();
    let (mut client, mut stream) = connect();
    client
        .write_all(b"PUT 1\r\n\r\n2\r\n{}\r\n0\r\n\r\nGET 2\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_text(&mut stream).await.unwrap(), "PUT 1\r\n\r\n");
    let connection = stream.connection();
    let served = connection.serve(&head_with_chunked_body());
    assert_eq!(read_text(&mut stream).await, None);
    connection.await_body();
    let body = read_text(&mut stream).await.unwrap();
    assert_eq!(body, "2\r\n{}\r\n0\r\n\r\n");
    assert_eq!(read_text(&mut stream).await, None);
    connection.set_body_read();
    drop(served);
    assert_eq!(read_text(&mut stream).await.unwrap(), "GET 2\r\n\r\n");
}

#[rstest]
#[case::chunked_body(head_with_chunked_body())]
#[case::body_of_known_length(head_with_length(2))]
#[tokio::test]
async fn no_received_bytes_reach_the_framework_after_the_response_if_the_request_body_was_not_read(
    #[case] head: RequestHead,
) {
    pause();
    let (mut client, mut stream) = connect();
    client.write_all(b"PUT 1\r\n\r\n{}").await.unwrap();
    assert_eq!(read_text(&mut stream).await.unwrap(), "PUT 1\r\n\r\n");
    drop(stream.connection().serve(&head));
    assert_eq!(read_text(&mut stream).await.unwrap(), "");
}

#[tokio::test]
async fn no_bytes_are_delivered_after_the_last_response_of_a_connection() {
    pause();
    let (mut client, mut stream) = connect();
    client
        .write_all(b"GET 1\r\n\r\nGET 2\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_text(&mut stream).await.unwrap(), "GET 1\r\n\r\n");
    let served = stream.connection().serve(&head_without_body());
    stream.connection().close_after_response();
    drop(served);
    assert_eq!(read_text(&mut stream).await.unwrap(), "");
}

#[tokio::test]
async fn end_of_the_connection_reaches_the_framework_while_a_post_request_is_handled() {
    pause();
    let (mut client, mut stream) = connect();
    client
        .write_all(b"GET 1\r\n\r\nGET 2\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_text(&mut stream).await.unwrap(), "GET 1\r\n\r\n");
    let mut head = head_without_body();
    head.method = Method::POST;
    let _served = stream.connection().serve(&head);
    assert_eq!(read_text(&mut stream).await, None);
    drop(client);
    assert_eq!(read_text(&mut stream).await.unwrap(), "");
}

#[tokio::test]
async fn end_of_the_connection_reaches_the_framework_only_after_the_responses_to_get_requests() {
    pause();
    let (mut client, mut stream) = connect();
    client
        .write_all(b"GET 1\r\n\r\nGET 2\r\n\r\n")
        .await
        .unwrap();
    drop(client);
    for request in ["GET 1\r\n\r\n", "GET 2\r\n\r\n"] {
        assert_eq!(read_text(&mut stream).await.unwrap(), request);
        let served = stream.connection().serve(&head_without_body());
        assert_eq!(read_text(&mut stream).await, None);
        drop(served);
    }
    assert_eq!(read_text(&mut stream).await.unwrap(), "");
}

#[tokio::test]
async fn connection_is_closed_after_the_idle_timeout_if_the_last_request_was_read_completely() {
    pause();
    let (mut client, mut stream) = connect();
    send(&mut client, &mut stream, "head and body").await;
    let served = stream.connection().serve(&head_with_chunked_body());
    stream.connection().set_body_read();
    drop(served);
    assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
}

#[tokio::test]
async fn response_that_the_client_does_not_read_fails_after_the_write_timeout() {
    pause();
    let (_client, mut stream) = connect();
    let started = Instant::now();
    let written = timeout(LONG, stream.write_all(&[0; 1_000])).await.unwrap();
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(started.elapsed().as_secs(), WRITE_TIMEOUT.as_secs());
}

#[tokio::test]
async fn no_request_is_delivered_while_a_response_cannot_be_written() {
    pause();
    let (mut client, mut stream) = connect();
    let blocked = timeout(Duration::from_secs(1), stream.write_all(&[0; 100])).await;
    assert!(blocked.is_err(), "the client does not read");
    client.write_all(b"GET 1\r\n\r\n").await.unwrap();
    assert_eq!(read_text(&mut stream).await, None);
    client.read_exact(&mut [0; 64]).await.unwrap();
    stream.write_all(&[0; 36]).await.unwrap();
    assert_eq!(read_text(&mut stream).await.unwrap(), "GET 1\r\n\r\n");
}

/// Simulates the state in which a request body waits in the buffer of the framework. In this state,
/// the framework flushes the connection but does not read from it.
#[tokio::test]
async fn connection_task_that_flushes_but_never_reads_is_woken_at_the_connection_deadline() {
    pause();
    let (_client, mut stream) = connect();
    let started = Instant::now();
    let woken = std::future::poll_fn(|cx| {
        if started.elapsed() >= HEAD_TIMEOUT {
            return Poll::Ready(());
        }
        let _ = Pin::new(&mut stream).poll_flush(cx);
        Poll::Pending
    });
    timeout(HEAD_TIMEOUT * 2, woken)
        .await
        .expect("the task is woken");
}

/// The client reads 64 bytes, the size of the buffer of the connection, after each pause of
/// `pause_millis` milliseconds.
#[rstest]
#[case::faster_than_the_minimum_rate(50, true)]
#[case::slower_than_the_minimum_rate(80, false)]
#[case::just_within_the_write_timeout_each_time(9_000, false)]
#[tokio::test]
async fn long_response_is_completed_only_if_the_client_reads_faster_than_the_minimum_rate(
    #[case] pause_millis: u64,
    #[case] is_complete: bool,
) {
    pause();
    let (mut client, mut stream) = connect();
    let reading = async {
        loop {
            sleep(Duration::from_millis(pause_millis)).await;
            client.read_exact(&mut [0; 64]).await.unwrap();
        }
    };
    let response = vec![0; 1_024 * 1_024];
    let written = tokio::select! {
        written = stream.write_all(&response) => written,
        () = reading => unreachable!("the client reads until the end"),
    };
    assert_eq!(written.is_ok(), is_complete);
}

#[tokio::test]
async fn client_that_read_slowly_has_the_whole_write_timeout_for_the_next_response() {
    pause();
    let (mut client, mut stream) = connect();
    for _ in 0..3 {
        let reading = async {
            sleep(WRITE_TIMEOUT * 9 / 10).await;
            client.read_exact(&mut [0; 100]).await.unwrap();
            client.write_all(b"GET 1\r\n\r\n").await.unwrap();
        };
        let (written, ()) = tokio::join!(stream.write_all(&[0; 100]), reading);
        written.unwrap();
        assert_eq!(read_text(&mut stream).await.unwrap(), "GET 1\r\n\r\n");
        drop(stream.connection().serve(&head_without_body()));
    }
}
