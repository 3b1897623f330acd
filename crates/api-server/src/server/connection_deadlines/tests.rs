use std::sync::Arc;

use actix_web::http::header::HeaderValue;
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{advance, pause, timeout},
};

use super::*;
use crate::server::drain::Lifecycle;

const LONG: Duration = Duration::from_secs(200);

fn connect() -> (DuplexStream, BoundedStream<DuplexStream>) {
    let (client, io) = duplex(64);
    let counted = Arc::new(Lifecycle::new()).connection();
    (client, BoundedStream::new(io, counted))
}

/// Reads from `stream` until the stream ends, and returns the elapsed time in seconds. Returns
/// `None` if the stream has not ended after [`LONG`].
async fn read_to_end(stream: &mut BoundedStream<DuplexStream>) -> Option<u64> {
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
#[rstest]
#[case::request_head(false)]
#[case::rest_of_an_answered_request(true)]
#[tokio::test]
async fn connection_is_closed_after_the_head_timeout_even_if_the_client_never_stops_sending(
    #[case] is_answered: bool,
) {
    pause();
    let counted = Arc::new(Lifecycle::new()).connection();
    let mut stream = BoundedStream::new(tokio::io::repeat(b'0'), counted);
    if is_answered {
        drop(stream.connection().serve(&head_with_chunked_body()));
    }
    let (started, mut chunk) = (Instant::now(), [0; 16]);
    while stream.read(&mut chunk).await.unwrap() > 0 {
        assert!(started.elapsed() < LONG);
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(started.elapsed(), HEAD_TIMEOUT);
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

async fn send(client: &mut DuplexStream, stream: &mut BoundedStream<DuplexStream>, text: &str) {
    client.write_all(text.as_bytes()).await.unwrap();
    let _ = stream.read(&mut [0; 64]).await.unwrap();
}

#[tokio::test]
async fn idle_connection_is_closed_after_the_idle_timeout() {
    pause();
    let (mut client, mut stream) = connect();
    assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
    let (mut another, mut stream_2) = connect();
    send(&mut another, &mut stream_2, "head").await;
    drop(stream_2.connection().serve(&head_without_body()));
    assert_eq!(
        read_to_end(&mut stream_2).await,
        Some(IDLE_TIMEOUT.as_secs())
    );
    let _ = client.shutdown().await;
}

#[tokio::test]
async fn empty_lines_before_a_request_head_do_not_start_the_head_timeout() {
    pause();
    let (mut client, mut stream) = connect();
    send(&mut client, &mut stream, "\r\n").await;
    assert_eq!(read_to_end(&mut stream).await, Some(IDLE_TIMEOUT.as_secs()));
}

#[tokio::test]
async fn connection_stays_open_while_a_request_is_handled() {
    pause();
    let (mut client, mut stream) = connect();
    send(&mut client, &mut stream, "head").await;
    let served = stream.connection().serve(&head_with_chunked_body());
    send(&mut client, &mut stream, "body").await;
    assert_eq!(read_to_end(&mut stream).await, None);
    drop(served);
    // After the response, the head timeout applies to the rest of the request body.
    assert_eq!(read_to_end(&mut stream).await, Some(HEAD_TIMEOUT.as_secs()));
}

#[tokio::test]
async fn connection_is_closed_after_the_head_timeout_if_the_body_of_an_answered_request_stalls() {
    pause();
    let (mut client, mut stream) = connect();
    send(&mut client, &mut stream, "head").await;
    drop(stream.connection().serve(&head_with_chunked_body()));
    send(&mut client, &mut stream, "1").await;
    assert_eq!(read_to_end(&mut stream).await, Some(HEAD_TIMEOUT.as_secs()));
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
async fn connection_fails_before_the_write_timeout_after_too_many_blocked_write_attempts() {
    let (_client, mut stream) = connect();
    let started = std::time::Instant::now();
    let mut task = Context::from_waker(std::task::Waker::noop());
    let ended = loop {
        if let Poll::Ready(Err(error)) = Pin::new(&mut stream).poll_write(&mut task, &[0; 64]) {
            break error;
        }
    };
    assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    assert!(started.elapsed() < WRITE_TIMEOUT / 2);
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

#[tokio::test]
async fn response_that_the_client_reads_slowly_is_written_completely() {
    pause();
    let (mut client, mut stream) = connect();
    let reading = async {
        let mut read = 0;
        while read < 1_000 {
            sleep(WRITE_TIMEOUT * 9 / 10).await;
            read += client.read(&mut [0; 32]).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(stream.write_all(&[0; 1_000]), reading);
    written.unwrap();
}
